"""The Scheduler contract: decides what each step computes. A class of one's own goes in by `scheduler_cls`."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.messages import EngineRequest, EngineStepOutput, FinishReason, StepOutput, StepPlan
    from vllm.platforms.constraints import SchedulingConstraints
    from vllm.worker.kv_cache_spec import KVCacheConfig

__all__ = ["SchedulerInterface", "SchedulerStats"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulerStats:
    """A snapshot; counters count from the start of the engine."""

    num_running: int
    num_waiting: int
    kv_cache_usage: float
    """Used blocks / all blocks, 0 to 1."""
    num_preemptions: int
    prefix_cache_queries: int
    """Prompt tokens looked up in the prefix cache."""
    prefix_cache_hits: int
    """Prompt tokens found there."""
    prompt_tokens: int
    """Prompt tokens computed or found."""
    generation_tokens: int
    inter_token_counts: tuple[int, ...] = ()
    """Times between two tokens of one request, counted by the buckets of `latency_buckets.INTER_TOKEN_BOUNDS_S`; () = not measured."""
    inter_token_sum_s: float = 0.0
    num_failed_steps: int = 0
    """Steps that raised and were undone: memory that ran out is not among them."""


class SchedulerInterface(abc.ABC):
    """Used from one thread. Imports no torch."""

    @abc.abstractmethod
    def __init__(
        self,
        config: VllmConfig,
        kv_cache_config: KVCacheConfig,
        constraints: SchedulingConstraints,
        *,
        max_inflight_steps: int = 1,
    ) -> None: ...

    @abc.abstractmethod
    def add_request(self, request: EngineRequest) -> None:
        """Queue a request. Raises DuplicateRequestError for an id that is alive, InvalidRequestError for one that can never fit."""

    @abc.abstractmethod
    def abort_requests(self, request_ids: Iterable[str], reason: FinishReason) -> None:
        """End requests now; unknown ids are ignored (they may just have finished). Their FinishedRequest comes with the next update."""

    @abc.abstractmethod
    def has_unfinished_requests(self) -> bool:
        """Whether a request waits, runs, or has ended without having been reported."""

    @abc.abstractmethod
    def schedule(self) -> StepPlan | None:
        """The next step, or None when nothing can run now (no request, or all wait for steps in flight)."""

    @abc.abstractmethod
    def update(self, plan: StepPlan, output: StepOutput) -> EngineStepOutput:
        """Take a step's result, in submission order: tokens, stops, finished requests."""

    @abc.abstractmethod
    def retract(self, plan: StepPlan) -> None:
        """No step in flight counts: memory ran out in the oldest, `plan`. Its requests are computed anew, in smaller steps.

        The next plan says that it starts anew. Where a smaller step is impossible, the requests of `plan` end with FinishReason.ERROR;
        the others go on.
        """

    def isolate(self, plan: StepPlan) -> bool:
        """No step in flight counts: an error was raised in the oldest, `plan`, and the workers are well. Find out whose fault it is.

        Who is, ends with FinishReason.ERROR; the others are computed anew, and the next plan says that it starts anew. False: give up,
        the engine stops with the error. The default gives up.
        """
        del plan
        return False

    @abc.abstractmethod
    def drain_finished(self) -> EngineStepOutput | None:
        """Reports that no step will carry (aborts while idle); None if there are none."""

    @abc.abstractmethod
    def request_of_slot(self, slot: int) -> str | None:
        """The id of the request that holds `slot`, None if nobody does."""

    @abc.abstractmethod
    def reset_prefix_cache(self) -> bool:
        """Forget all cached blocks. False (and nothing happens) while requests hold blocks."""

    @abc.abstractmethod
    def stats(self) -> SchedulerStats:
        """Current numbers."""

    @abc.abstractmethod
    def check_invariants(self) -> None:
        """Raise AssertionError if blocks do not balance, a block is in two places, or counts disagree. Callable between any two calls."""
