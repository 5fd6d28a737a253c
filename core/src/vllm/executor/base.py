"""The Executor contract: runs the workers of one engine and gives a plan's result as a handle."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from vllm.errors import WorkerError
from vllm.worker.worker_base import WorkerBase

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.messages import Int32Array, StepOutput, StepPlan
    from vllm.worker.kv_cache_spec import KVCacheConfig, KVCacheGroup

__all__ = ["ExecutorBase", "StepHandle"]

P = ParamSpec("P")
T = TypeVar("T")


class StepHandle(abc.ABC):
    """A submitted step. Call `sample` exactly once, then `result` exactly once."""

    @abc.abstractmethod
    def sample(self, grammar_mask_GW: Int32Array | None = None) -> None:
        """Hand over the grammar masks (see WorkerBase.sample) and start sampling. Does not block."""

    @abc.abstractmethod
    def result(self) -> StepOutput:
        """Block until the tokens are there. Raises what the worker raised, WorkerDiedError if it is gone."""


class ExecutorBase(abc.ABC):
    """Starts the workers in `__init__` and owns them until `shutdown`. Used from one thread."""

    def __init__(self, config: VllmConfig) -> None:
        self.config = config

    # -- mandatory ------------------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def call(self, method: Callable[Concatenate[WorkerBase, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """`WorkerBase.method(worker, …)` on every rank, in rank order; blocks.

        The error that comes first is raised, with its class, naming the rank. If the other ranks do not answer then, the engine is ended.
        """

    @abc.abstractmethod
    def collective_rpc(
        self,
        method: str | Callable[..., Any],
        timeout_s: float | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> list[Any]:
        """For users' own worker methods (`worker_extension_cls`) and functions of the worker; the core itself uses `call`.

        Raises RpcTimeoutError after `timeout_s`; the engine lives on, and what comes next waits for the call to end.
        """

    @abc.abstractmethod
    def submit(self, plan: StepPlan) -> StepHandle:
        """Start a step. Steps run in submission order; with `max_inflight_steps` > 1 the caller may submit before the last result.

        An error of a step comes from its handle's `result`, with the class it had in the worker, and ends the engine: every later call
        raises EngineDeadError. Not so StepFailedError, nor OutOfMemoryError where `survives_out_of_memory`: the steps submitted behind it
        fail as well, and the next plan starts anew.
        """

    @abc.abstractmethod
    def check_health(self) -> None:
        """Raise WorkerDiedError if a worker is gone."""

    @abc.abstractmethod
    def shutdown(self) -> None:
        """Stop the workers and leave no process behind; may be called twice."""

    @property
    def max_inflight_steps(self) -> int:
        """Steps that may be submitted and unanswered: 2 allows asynchronous scheduling."""
        return 1

    @property
    def survives_out_of_memory(self) -> bool:
        """Whether a step that raised OutOfMemoryError leaves the workers able to take a plan that starts anew.

        False where ranks wait for each other: one that ran out leaves the others inside a collective.
        """
        return False

    # -- the set-up, in terms of `call` ---------------------------------------------------------------------------------------

    def start_workers(self) -> None:
        """Device and weights on every rank."""
        self.call(WorkerBase.init_device)
        self.call(WorkerBase.load_model)

    def kv_cache_groups(self) -> tuple[KVCacheGroup, ...]:
        """The cache groups, which must be equal on all ranks."""
        first, *others = self.call(WorkerBase.kv_cache_groups)
        if any(other != first for other in others):
            raise WorkerError("The ranks disagree about the KV cache: the model is sharded unevenly.")
        return first

    def determine_available_memory(self) -> int:
        """Bytes for the KV cache on the tightest rank."""
        return min(self.call(WorkerBase.determine_available_memory))

    def initialize_kv_cache(self, kv_cache_config: KVCacheConfig) -> None:
        """Allocate on every rank."""
        self.call(WorkerBase.initialize_kv_cache, kv_cache_config)

    def warm_up(self) -> None:
        """Compile and capture on every rank."""
        self.call(WorkerBase.warm_up)
