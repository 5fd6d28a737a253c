"""Owns what a user gets back: `RequestOutput` with its `CompletionOutput`s, their log-probabilities and times. No torch, no numpy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vllm.flat_logprobs import FlatLogprobs, Logprob, LogprobsOnePosition

__all__ = [
    "BeamSearchOutput",
    "BeamSearchSequence",
    "CompletionOutput",
    "FlatLogprobs",
    "Logprob",
    "LogprobsOnePosition",
    "PromptLogprobs",
    "RequestMetrics",
    "RequestOutput",
    "SampleLogprobs",
]

SampleLogprobs = FlatLogprobs | list[LogprobsOnePosition]
PromptLogprobs = FlatLogprobs | list[LogprobsOnePosition | None]
"""One entry per prompt token; the first is None, it has no prediction."""


@dataclass(kw_only=True, slots=True)
class RequestMetrics:
    """When a request passed each stage. `arrival_time` is time.time(); the `_ts` are time.monotonic(); all in seconds."""

    arrival_time: float = 0.0
    queued_ts: float | None = None
    scheduled_ts: float | None = None
    """First scheduling."""
    first_token_ts: float | None = None
    last_token_ts: float | None = None
    first_token_latency: float | None = None
    """From arrival to the first token."""
    num_generation_tokens: int = 0
    num_preemptions: int = 0


@dataclass(slots=True)
class CompletionOutput:
    """One of the `n` outputs of a request."""

    index: int
    """Which of the `n`."""
    text: str
    token_ids: Sequence[int]
    cumulative_logprob: float | None = None
    """Sum over the generated tokens, where log-probabilities were asked for."""
    logprobs: SampleLogprobs | None = None
    finish_reason: str | None = None
    """"stop", "length", "abort", "error" or "repetition"; None while it runs."""
    stop_reason: int | str | None = None
    """The stop string or stop token id that ended the output; None for EOS and for every other reason."""
    lora_request: Any = None

    def finished(self) -> bool:
        return self.finish_reason is not None


@dataclass(slots=True)
class RequestOutput:
    """A request and its outputs so far (or since the last one, with RequestOutputKind.DELTA)."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int] | None
    prompt_logprobs: PromptLogprobs | None
    outputs: list[CompletionOutput]
    finished: bool
    metrics: RequestMetrics | None = None
    lora_request: Any = None
    num_cached_tokens: int | None = None
    """Prompt tokens taken from the prefix cache."""


@dataclass(slots=True)
class BeamSearchSequence:
    """One beam: prompt and output tokens together, with the score's parts."""

    tokens: list[int]
    logprobs: list[LogprobsOnePosition]
    cum_logprob: float = 0.0
    text: str | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    lora_request: Any = None


@dataclass(slots=True)
class BeamSearchOutput:
    """The beams of one prompt, best first."""

    sequences: list[BeamSearchSequence]
