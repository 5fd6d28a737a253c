"""Owns the way from a step's arrays to `RequestOutput`s: detokenisation, stop strings, log-probabilities, `n` outputs as one request."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vllm.engine.request_state import ChildState, ParentState
from vllm.errors import DuplicateRequestError
from vllm.logger import init_logger
from vllm.messages import FinishReason

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vllm.engine.input_processor import ProcessedRequest
    from vllm.messages import EngineStepOutput, FinishedRequest, RequestTokens, SampledLogprobs
    from vllm.outputs import RequestOutput
    from vllm.text.tokenizer import Tokenizer

__all__ = ["OutputProcessor", "StepReport"]

logger = init_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepReport:
    """What one step means to the front."""

    outputs: list[RequestOutput]
    stopped_request_ids: list[str]
    """Engine ids that a stop string, or a failing tokenizer, ended: the core must be told, it goes on generating otherwise."""
    finished: list[ParentState]
    """Requests whose times and counts are complete, for statistics."""


class OutputProcessor:
    """Knows every request between `add` and its end."""

    def __init__(self, tokenizer: Tokenizer | None, *, stream_interval_tokens: int = 1) -> None:
        """`stream_interval_tokens`: how often streams speak, where the request does not say."""
        self._tokenizer = tokenizer
        self._stream_interval_tokens = stream_interval_tokens
        self._children: dict[str, ChildState] = {}
        self._parents: dict[str, ParentState] = {}
        self._ending: dict[str, ParentState] = {}
        """By engine id: outputs that were ended here, by a stop string mostly, of which the core has still to tell times and counts."""

    def add(self, request: ProcessedRequest) -> None:
        """Begin a request; raises DuplicateRequestError for an id that is alive."""
        if request.request_id in self._parents:
            raise DuplicateRequestError(
                f"The request id {request.request_id!r} is already in use by a request that has not ended.",
                parameter="request_id",
                remedy="give every request an id of its own",
            )
        parent = ParentState(request, self._tokenizer, time.time())
        self._parents[request.request_id] = parent
        self._children |= {
            child.request_id: state for child, state in zip(request.children, parent.children, strict=True)
        }

    def __contains__(self, request_id: str) -> bool:
        return request_id in self._parents

    def __len__(self) -> int:
        return len(self._parents)

    def abort(self, request_ids: Iterable[str]) -> list[str]:
        """End users' requests without another word to them; gives the engine ids of their outputs that still run.

        Times and counts, which the core tells later, still go into the statistics.
        """
        return self.abort_telling(request_ids)[0]

    def abort_telling(self, request_ids: Iterable[str]) -> tuple[list[str], list[RequestOutput]]:
        """`abort`, and the last output of each of these requests, for who still reads it."""
        running: list[str] = []
        last: list[RequestOutput] = []
        for parent in [self._parents.pop(request_id) for request_id in request_ids if request_id in self._parents]:
            aborted = []
            for message, child in zip(parent.request.children, parent.children, strict=True):
                if self._children.pop(message.request_id, None) is not None:
                    child.finish(FinishReason.ABORT)
                    self._ending[message.request_id] = parent
                    running.append(message.request_id)
                    aborted.append(child)
            last.append(parent.output(aborted))
        return running, last

    def forget(self, request_id: str) -> list[str]:
        """Drop a request that the core refused; gives the engine ids of those of its outputs that the core took before."""
        engine_ids = self.abort([request_id])
        for engine_id in engine_ids:
            del self._ending[engine_id]
        return engine_ids

    def refuse(self, engine_ids: Sequence[str]) -> list[str]:
        """Drop the requests of outputs that the core refused; gives the users' ids of those that were alive."""
        parents = self._parents_of(engine_ids)
        for engine_id in engine_ids:
            self._children.pop(engine_id, None)
            self._ending.pop(engine_id, None)
        alive = [parent.request.request_id for parent in parents]
        return [request_id for request_id in alive if self._parents.pop(request_id, None) is not None]

    def process(self, step: EngineStepOutput) -> StepReport:
        """Take one step. Costs Python only for requests that stream, look for stop strings, or ended."""
        changed: dict[str, list[ChildState]] = {}
        stopped: list[str] = []
        ends = {ended.request_id: ended for ended in step.finished}
        ending = self._parents_of(ends)
        self._take_prompt_logprobs(step)
        if step.tokens is not None:
            stopped = self._take_tokens(step.tokens, ends, changed)
        logprobs_of = dict(step.finished_logprobs)
        for ended in ends.values():
            self._take_end(ended, logprobs_of.get(ended.request_id), changed)
        finished = [parent for parent in ending if parent.is_told]
        return StepReport(outputs=self._report(changed), stopped_request_ids=stopped, finished=finished)

    # -- inner ----------------------------------------------------------------------------------------------------------------

    def _parents_of(self, engine_ids: Iterable[str]) -> list[ParentState]:
        """The requests of these outputs, each once; without those that were forgotten."""
        children = ((engine_id, self._children.get(engine_id)) for engine_id in engine_ids)
        parents = [self._ending.get(engine_id) if child is None else child.parent for engine_id, child in children]
        return list(dict.fromkeys(parent for parent in parents if parent is not None))

    def _take_prompt_logprobs(self, step: EngineStepOutput) -> None:
        """All `n` outputs compute them; the first output's are shown."""
        for request_id, stretch in step.prompt_logprobs:
            child = self._children.get(request_id)
            if child is not None and child.index == 0 and child.parent.prompt_logprobs is not None:
                child.parent.prompt_logprobs.add_prompt(stretch)

    def _take_tokens(
        self, tokens: RequestTokens, ends: dict[str, FinishedRequest], changed: dict[str, list[ChildState]]
    ) -> list[str]:
        """Tokens of requests that want them at every step; ends that come with them are taken out of `ends`."""
        stopped: list[str] = []
        token_ids, cached = tokens.token_ids_M.tolist(), tokens.num_cached_tokens_R.tolist()
        stops_M = np.cumsum(tokens.counts_R).tolist()
        start = 0
        for request_id, stop, num_cached in zip(tokens.request_ids, stops_M, cached, strict=True):
            child, span = self._children.get(request_id), range(start, stop)
            start = stop
            if child is None:
                continue  # ended by a stop string or aborted while this step ran
            if child.index == 0:
                child.parent.num_cached_tokens = num_cached
            ended = ends.pop(request_id, None)
            hit = _append(child, token_ids[span.start : span.stop], _rows_in(tokens.logprobs, span), ended)
            self._note(child, request_id, ended, changed)
            if hit and ended is None:
                stopped.append(request_id)
                self._ending[request_id] = self._children.pop(request_id).parent
        return stopped

    def _take_end(
        self, ended: FinishedRequest, logprobs: SampledLogprobs | None, changed: dict[str, list[ChildState]]
    ) -> None:
        """An end without tokens of its own step: all tokens of an AT_FINISH request, or an abort, perhaps for a stop string."""
        child = self._children.get(ended.request_id)
        if child is None:
            parent = self._ending.pop(ended.request_id, None)
            if parent is not None:
                parent.note_end(ended)
            return
        new_ids = ended.output_token_ids[len(child.token_ids) :].tolist()
        _append(child, new_ids, None if logprobs is None else (logprobs, range(len(logprobs.rows_R))), ended)
        self._note(child, ended.request_id, ended, changed)

    def _note(
        self, child: ChildState, request_id: str, ended: FinishedRequest | None, changed: dict[str, list[ChildState]]
    ) -> None:
        changed.setdefault(child.parent.request.request_id, []).append(child)
        if ended is not None:
            if child.index == 0:
                child.parent.num_cached_tokens = ended.num_cached_tokens
            child.parent.note_end(ended)
            self._children.pop(request_id, None)

    def _report(self, changed: dict[str, list[ChildState]]) -> list[RequestOutput]:
        outputs: list[RequestOutput] = []
        for request_id, children in changed.items():
            parent = self._parents[request_id]
            shown = parent.to_show(children, self._stream_interval_tokens)
            if shown:
                outputs.append(parent.output(shown))
            if parent.finished:
                del self._parents[request_id]
        return outputs


def _append(
    child: ChildState,
    token_ids: list[int],
    logprobs: tuple[SampledLogprobs, Sequence[int]] | None,
    ended: FinishedRequest | None,
) -> bool:
    """Have the child take its tokens; True if it has ended here. A tokenizer that fails on them ends this output alone."""
    known_tokens = len(child.token_ids)
    try:
        return child.append(token_ids, logprobs, ended)
    except Exception:  # tokenizers are the model's own, even its own code, and raise anything
        logger.exception("Output %d of request %s ends: its tokens have no text", child.index, child.request_id)
        child.fail(known_tokens)
        return True


def _rows_in(logprobs: SampledLogprobs | None, tokens: range) -> tuple[SampledLogprobs, Sequence[int]] | None:
    """The rows of `logprobs` that belong to the tokens `tokens` of the step (rows_R is ascending)."""
    if logprobs is None:
        return None
    first, last = np.searchsorted(logprobs.rows_R, (tokens.start, tokens.stop))
    return (logprobs, range(int(first), int(last))) if last > first else None
