"""Owns the text of one running request: detokenisation and stop strings together, whole or as deltas for streaming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vllm.text.detokenizer import make_detokenizer
from vllm.text.stop import StopMatch, StopStrings

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams
    from vllm.text.tokenizer import Tokenizer

__all__ = ["OutputText", "StopHit", "decode_output"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StopHit:
    """A stop string ended the output."""

    stop: str
    used_tokens: int
    """How many of the tokens just appended belong to the output; those behind them are to be dropped."""


class OutputText:
    """The growing text of one output. Feed it tokens with `append`; end it with `finish`; read `text` or `take_delta()`."""

    def __init__(self, tokenizer: Tokenizer, prompt_token_ids: Sequence[int], params: SamplingParams) -> None:
        self._detokenizer = make_detokenizer(
            tokenizer,
            prompt_token_ids,
            skip_special_tokens=params.skip_special_tokens,
            spaces_between_special_tokens=params.spaces_between_special_tokens,
        )
        self._stops = StopStrings(params.stop) if params.stop else None
        self._include_stop = params.include_stop_str_in_output
        self._min_tokens = params.min_tokens
        self._num_tokens = 0
        self._text = ""
        self._taken_chars = 0
        self._ended = False

    def append(self, token_ids: Sequence[int]) -> StopHit | None:
        """Take the next output tokens. Returns the stop string that they completed, if any; the text ends there then."""
        if self._stops is None:
            self._text += self._detokenizer.append(token_ids)
            return None
        for used, token_id in enumerate(token_ids, start=1):
            match = self._append_one(self._stops, token_id)
            if match is not None:
                self._cut(match)
                return StopHit(stop=match.stop, used_tokens=used)
        return None

    def append_stop_token(self, token_id: int) -> None:
        """Take the EOS or stop token that ended the output: it is shown only with `include_stop_str_in_output`."""
        if self._include_stop:
            self._text += self._detokenizer.append([token_id])

    def finish(self) -> None:
        """No token comes any more: show what was held back."""
        if not self._ended:
            self._ended = True
            self._text += self._detokenizer.flush()

    @property
    def text(self) -> str:
        """All that may be shown now: without what may still become a stop string."""
        return self._text[: self._visible_chars()]

    def take_delta(self) -> str:
        """What became visible since the last call."""
        start, self._taken_chars = self._taken_chars, self._visible_chars()
        return self._text[start : self._taken_chars]

    def _append_one(self, stops: StopStrings, token_id: int) -> StopMatch | None:
        searched_chars = len(self._text)
        self._text += self._detokenizer.append([token_id])
        self._num_tokens += 1
        if self._num_tokens <= self._min_tokens:
            return None
        return stops.find(self._text, searched_chars)

    def _cut(self, match: StopMatch) -> None:
        self._ended = True
        self._text = self._text[: match.end if self._include_stop else match.start]

    def _visible_chars(self) -> int:
        if self._stops is None or self._include_stop or self._ended:
            return len(self._text)
        return len(self._text) - self._stops.held_back_chars(self._text)


def decode_output(
    tokenizer: Tokenizer, prompt_token_ids: Sequence[int], output_token_ids: Sequence[int], params: SamplingParams
) -> str:
    """The whole text of a finished output that has no stop strings, in one go."""
    output = OutputText(tokenizer, prompt_token_ids, params)
    output.append(output_token_ids)
    output.finish()
    return output.text
