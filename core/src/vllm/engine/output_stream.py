"""Owns what one reader has still to read: at most one `RequestOutput`, into which later ones are merged until it is taken.

A reader that is slow, or gone, costs no more memory than the request's own outputs, and one that is overtaken gets several tokens at once.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from vllm.sampling_params import RequestOutputKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vllm.outputs import CompletionOutput, RequestOutput

__all__ = ["OutputStream"]


class OutputStream:
    """Written by the engine's receiver, read by one task, both on one event loop."""

    def __init__(self, kind: RequestOutputKind) -> None:
        self._merges = kind is RequestOutputKind.DELTA
        self._waiting: RequestOutput | None = None
        self._error: BaseException | None = None
        self._news = asyncio.Event()

    def put(self, output: RequestOutput) -> None:
        """Add an output; deltas join those not taken yet, others replace them."""
        if self._waiting is not None and self._merges:
            merge(self._waiting, output)
        else:
            self._waiting = output
        self._news.set()

    def fail(self, error: BaseException) -> None:
        """No output comes any more; the reader gets those that came, then the error."""
        self._error = error
        self._news.set()

    async def get(self) -> RequestOutput:
        """The next output. Raises what `fail` was given."""
        while self._waiting is None:
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()
        output, self._waiting = self._waiting, None
        return output


def merge(into: RequestOutput, later: RequestOutput) -> None:
    """Append the deltas of `later` to those of `into`."""
    by_index = {output.index: output for output in into.outputs}
    for output in later.outputs:
        earlier = by_index.get(output.index)
        if earlier is None:
            into.outputs.append(output)
        else:
            _join(earlier, output)
    into.finished = later.finished
    into.metrics, into.num_cached_tokens = later.metrics, later.num_cached_tokens
    into.prompt_logprobs = into.prompt_logprobs if later.prompt_logprobs is None else later.prompt_logprobs


def _join(earlier: CompletionOutput, later: CompletionOutput) -> None:
    earlier.text += later.text
    earlier.token_ids = _followed_by(earlier.token_ids, later.token_ids)
    earlier.cumulative_logprob = later.cumulative_logprob
    if earlier.logprobs is not None and later.logprobs is not None:
        earlier.logprobs.extend(later.logprobs)  # type: ignore[arg-type]
    earlier.finish_reason, earlier.stop_reason = later.finish_reason, later.stop_reason


def _followed_by(ids: Sequence[int], more: Sequence[int]) -> Sequence[int]:
    """In place: an output's list is its own, and copying it for every token that a reader lets wait would take longer and longer."""
    if not isinstance(ids, list):
        ids = list(ids)
    ids.extend(more)
    return ids
