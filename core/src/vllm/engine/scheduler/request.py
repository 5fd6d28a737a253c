"""Owns what the scheduler knows of one request beyond the arrays: touched on arrival, prefill progress, finish and preemption only."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vllm.messages import EngineRequest, FinishedRequest, FinishReason, Int32Array, SampledLogprobs

__all__ = ["Request"]


@dataclass(slots=True, eq=False)
class Request:
    """One live request. While it holds a slot its tokens are in the slot table; `output_token_ids` is what it had before."""

    message: EngineRequest
    order: tuple[float, ...]
    """Runs first if smaller; preempted first if larger. No two requests have the same."""
    chain: list[bytes] = field(default_factory=list)
    """Block hashes, the root first; empty without prefix caching."""
    output_token_ids: Int32Array = field(default_factory=lambda: np.empty(0, np.int32))
    num_cached_tokens: int = 0
    num_preemptions: int = 0
    num_prompt_logprobs_done: int = 0
    first_scheduled_time_s: float | None = None
    first_token_time_s: float | None = None
    last_token_time_s: float | None = None
    logprobs: list[SampledLogprobs] = field(default_factory=list)
    """What came so far, for a request that wants it at its end."""

    @property
    def num_prompt_tokens(self) -> int:
        return len(self.message.prompt_token_ids)

    @property
    def num_known_tokens(self) -> int:
        """Prompt and outputs, for a request without a slot."""
        return self.num_prompt_tokens + len(self.output_token_ids)

    @property
    def max_total_tokens(self) -> int:
        """Prompt and all the outputs it may have."""
        return self.num_prompt_tokens + self.message.max_tokens

    @property
    def known_token_ids(self) -> Int32Array:
        """Prompt and outputs, for a request without a slot."""
        if not len(self.output_token_ids):
            return self.message.prompt_token_ids
        return np.concatenate([self.message.prompt_token_ids, self.output_token_ids])

    def finished(self, reason: FinishReason, stop_reason: int | None = None) -> FinishedRequest:
        """The report of its end; `output_token_ids` and the times are up to date."""
        return FinishedRequest(
            request_id=self.message.request_id,
            reason=reason,
            stop_reason=stop_reason,
            output_token_ids=self.output_token_ids,
            num_cached_tokens=self.num_cached_tokens,
            num_preemptions=self.num_preemptions,
            first_scheduled_time_s=self.first_scheduled_time_s,
            first_token_time_s=self.first_token_time_s,
            last_token_time_s=self.last_token_time_s,
        )
