"""Owns the front's memory of requests that run: text so far, log-probabilities, what was shown already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vllm.engine.logprobs_view import LogprobsView
from vllm.messages import FinishReason
from vllm.outputs import CompletionOutput, RequestMetrics, RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.text.output_text import OutputText

if TYPE_CHECKING:
    from vllm.engine.input_processor import ProcessedRequest
    from vllm.messages import FinishedRequest, SampledLogprobs
    from vllm.outputs import FlatLogprobs, LogprobsOnePosition
    from vllm.text.tokenizer import Tokenizer

__all__ = ["ChildState", "ParentState"]


class ChildState:
    """One of the `n` outputs of a request."""

    def __init__(self, parent: ParentState, index: int, tokenizer: Tokenizer | None) -> None:
        params, prompt = parent.request.params, parent.request.prompt_token_ids
        self.parent = parent
        self.index = index
        self.token_ids: list[int] = []
        self._text = OutputText(tokenizer, prompt, params) if tokenizer is not None and params.detokenize else None
        wants_logprobs = params.logprobs is not None or params.logprob_token_ids is not None
        self.logprobs = (
            LogprobsView(tokenizer, flat=params.flat_logprobs, others_are_best=not params.logprob_token_ids)
            if wants_logprobs
            else None
        )
        self.finish_reason: FinishReason | None = None
        self.stop_reason: int | str | None = None
        self._taken_tokens = 0

    def append(
        self,
        token_ids: list[int],
        logprobs: tuple[SampledLogprobs, Sequence[int]] | None,
        ended: FinishedRequest | None,
    ) -> bool:
        """Take new tokens, and the end if it came with them. True if a stop string ended the output here."""
        self.token_ids += token_ids
        if logprobs is not None and self.logprobs is not None:
            self.logprobs.add_sampled(*logprobs)
        hit = self._append_text(token_ids, ended)
        if not hit and ended is not None:
            self.finish(ended.reason, ended.stop_reason)
        return hit

    def finish(self, reason: FinishReason, stop_reason: int | str | None = None) -> None:
        """No token comes any more."""
        self.finish_reason, self.stop_reason = reason, stop_reason
        if self._text is not None:
            self._text.finish()

    def fail(self, known_tokens: int) -> None:
        """No text can be made of the newest tokens: the output ends before them."""
        self._cut_after(known_tokens)
        self.finish_reason, self.stop_reason = FinishReason.ERROR, None

    @property
    def request_id(self) -> str:
        """The user's."""
        return self.parent.request.request_id

    def is_due(self, interval_tokens: int) -> bool:
        """Whether a stream has something to say: the first token at once, then every `interval_tokens`, and the end."""
        new_tokens = len(self.token_ids) - self._taken_tokens
        is_first = new_tokens > 0 and not self._taken_tokens
        return self.finish_reason is not None or is_first or new_tokens >= interval_tokens

    def output(self, *, delta: bool) -> CompletionOutput:
        """What the user sees of this output now; `delta` takes what was not taken before."""
        start = self._taken_tokens if delta else 0
        text = "" if self._text is None else self._text.take_delta() if delta else self._text.text
        self._taken_tokens = len(self.token_ids)
        return CompletionOutput(
            index=self.index,
            text=text,
            token_ids=self.token_ids[start:],
            cumulative_logprob=None if self.logprobs is None else self.logprobs.cumulative,
            logprobs=None if self.logprobs is None else self.logprobs.since(start),  # type: ignore[arg-type]
            finish_reason=None if self.finish_reason is None else self.finish_reason.value,
            stop_reason=self.stop_reason,
        )

    def _append_text(self, token_ids: list[int], ended: FinishedRequest | None) -> bool:
        """Detokenise; the token that stopped generation is shown only on request. True if a stop string was completed."""
        if self._text is None:
            return False
        stopped_by_token = ended is not None and ended.reason is FinishReason.STOP and token_ids
        hit = self._text.append(token_ids[:-1] if stopped_by_token else token_ids)
        if hit is not None:
            self._cut_after(len(self.token_ids) - len(token_ids) + hit.used_tokens)
            self.finish(FinishReason.STOP, hit.stop)
            return True
        if stopped_by_token:
            self._text.append_stop_token(token_ids[-1])
        return False

    def _cut_after(self, length: int) -> None:
        del self.token_ids[length:]
        if self.logprobs is not None:
            self.logprobs.truncate(length)


class ParentState:
    """A user's request with all its outputs."""

    def __init__(self, request: ProcessedRequest, tokenizer: Tokenizer | None, arrival_time: float) -> None:
        self.request = request
        self.children = [ChildState(self, index, tokenizer) for index in range(request.params.n)]
        self.prompt_logprobs = (
            LogprobsView(tokenizer, flat=request.params.flat_logprobs)
            if request.params.prompt_logprobs is not None
            else None
        )
        self.num_cached_tokens: int | None = None
        """Of the first output: the others may find what it computes."""
        self.metrics = RequestMetrics(arrival_time=arrival_time, queued_ts=request.arrival_time_s)
        self._shown_prompt_logprobs = False
        self._num_told = 0

    @property
    def is_told(self) -> bool:
        """Whether the core has told the end of every output, so that times and counts are complete."""
        return self._num_told == len(self.children)

    @property
    def finished(self) -> bool:
        """Whether every output has ended."""
        return all(child.finish_reason is not None for child in self.children)

    def to_show(self, changed: Sequence[ChildState], default_interval_tokens: int) -> list[ChildState]:
        """Of the outputs that changed, those that the user is to see now. FINAL_ONLY shows nothing before all have ended."""
        params = self.request.params
        if params.output_kind is RequestOutputKind.FINAL_ONLY:
            return list(changed) if self.finished else []
        interval_tokens = params.stream_interval or default_interval_tokens
        return [child for child in changed if child.is_due(interval_tokens)]

    def output(self, changed: Sequence[ChildState]) -> RequestOutput:
        """The request as the user sees it now; with deltas only the outputs that changed."""
        delta = self.request.params.output_kind is RequestOutputKind.DELTA
        children = changed if delta else self.children
        return RequestOutput(
            request_id=self.request.request_id,
            prompt=self.request.prompt_text,
            prompt_token_ids=self.request.prompt_token_ids,
            prompt_logprobs=self._prompt_logprobs(once=delta),
            outputs=[child.output(delta=delta) for child in children],
            finished=self.finished,
            metrics=self.metrics,
            num_cached_tokens=self.num_cached_tokens,
        )

    def note_end(self, ended: FinishedRequest) -> None:
        """Times and counts of one ended output; with several, the first scheduling and the last token."""
        metrics = self.metrics
        self._num_told += 1
        metrics.scheduled_ts = _first(metrics.scheduled_ts, ended.first_scheduled_time_s)
        metrics.first_token_ts = _first(metrics.first_token_ts, ended.first_token_time_s)
        metrics.last_token_ts = max(metrics.last_token_ts or 0.0, ended.last_token_time_s or 0.0) or None
        metrics.num_generation_tokens += len(ended.output_token_ids)
        metrics.num_preemptions += ended.num_preemptions
        if metrics.first_token_ts is not None:
            metrics.first_token_latency = metrics.first_token_ts - self.request.arrival_time_s

    def _prompt_logprobs(self, *, once: bool) -> FlatLogprobs | list[LogprobsOnePosition | None] | None:
        if self.prompt_logprobs is None or (once and self._shown_prompt_logprobs):
            return None
        self._shown_prompt_logprobs = True
        if not len(self.prompt_logprobs.positions):
            self.prompt_logprobs.positions.append(None)  # a prompt of one token: nothing was predicted
        return self.prompt_logprobs.positions


def _first(a: float | None, b: float | None) -> float | None:
    return min((t for t in (a, b) if t is not None), default=None)
