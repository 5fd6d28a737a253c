"""Owns how generated text reaches the terminal: in the order of the prompts while it grows, or as JSON lines."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from vllm.outputs import CompletionOutput, Logprob, RequestOutput

__all__ = ["JsonPrinter", "TextPrinter"]


class TextPrinter:
    """Prints prompt and text of one output at a time as it grows; those after it wait until it has ended.

    Takes outputs as deltas. With several prompts or outputs each is headed by its number.
    """

    def __init__(self, stream: TextIO, prompts: Sequence[str], outputs_per_prompt: int) -> None:
        self._stream = stream
        self._prompts = prompts
        self._order = [(prompt, nth) for prompt in range(len(prompts)) for nth in range(outputs_per_prompt)]
        self._waiting: defaultdict[tuple[int, int], list[str]] = defaultdict(list)
        self._ended: set[tuple[int, int]] = set()
        self._headed = False

    def take(self, index: int, output: RequestOutput) -> None:
        """New text of prompt `index`."""
        for one in output.outputs:
            key = (index, one.index)
            self._waiting[key].append(one.text)
            if one.finish_reason is not None:
                self._ended.add(key)
        self._print()

    def refuse(self, index: int) -> None:
        """Prompt `index` will have no output."""
        self._order = [key for key in self._order if key[0] != index]

    def close(self) -> None:
        """All requests have ended."""
        self._stream.flush()

    def _print(self) -> None:
        """Whatever the output whose turn it is has; then the next ones, as long as they have ended."""
        while self._order:
            key = self._order[0]
            self._head(key)
            self._stream.write("".join(self._waiting.pop(key, ())))
            if key not in self._ended:
                break
            self._stream.write("\n")
            self._order.pop(0)
            self._headed = False
        self._stream.flush()

    def _head(self, key: tuple[int, int]) -> None:
        if self._headed:
            return
        prompt, nth = key
        several_outputs = any(other[1] != nth for other in self._order) or nth > 0
        number = f"{prompt}.{nth}" if several_outputs else f"{prompt}"
        label = f"[{number}] " if len(self._prompts) > 1 or several_outputs else ""
        self._stream.write(label + self._prompts[prompt])
        self._headed = True


class JsonPrinter:
    """Prints one JSON object per finished prompt, in the order in which they finish."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def take(self, index: int, output: RequestOutput) -> None:
        """The finished output of prompt `index`."""
        if not output.finished:
            return
        line = {
            "index": index,
            "prompt": output.prompt,
            "prompt_token_ids": [*map(int, output.prompt_token_ids or ())],
            "outputs": [_completion(one) for one in output.outputs],
        }
        print(json.dumps(line, ensure_ascii=False), file=self._stream, flush=True)

    def refuse(self, index: int) -> None:
        """Prompt `index` has no line; the reason was reported."""

    def close(self) -> None:
        """All requests have ended."""


def _completion(one: CompletionOutput) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "index": one.index,
        "text": one.text,
        "token_ids": [*map(int, one.token_ids)],
        "finish_reason": one.finish_reason,
        "stop_reason": one.stop_reason,
    }
    if one.logprobs is not None:
        shown["cumulative_logprob"] = one.cumulative_logprob
        shown["logprobs"] = [_position(position) for position in one.logprobs]
    return shown


def _position(position: Mapping[int, Logprob] | None) -> dict[str, Any]:
    """Token id -> its log-probability at one place of the output."""
    known = (position or {}).items()
    return {str(token): {"logprob": p.logprob, "rank": p.rank, "token": p.decoded_token} for token, p in known}
