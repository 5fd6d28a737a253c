"""Owns the reading of one output by both parsers: reasoning first, and what is content then goes to the tool-call parser."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from vllm.entrypoints.openai.parsers_interface import (
    ContentDelta,
    Delta,
    ReasoningParser,
    ToolCall,
    ToolCallDelta,
    ToolParser,
)

__all__ = ["OutputStream", "ParsedOutput", "parse_output"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedOutput:
    """A whole output. `reasoning` is None where no reasoning parser read it."""

    reasoning: str | None
    content: str
    calls: tuple[ToolCall, ...] = ()


class OutputStream:
    """One output as it arrives, through the parsers that there are; without any, all is content.

    With `parallel_calls` False only the first call is given.
    """

    def __init__(
        self, reasoning: ReasoningParser | None, tools: ToolParser | None, *, parallel_calls: bool = True
    ) -> None:
        self._reasoning = reasoning.stream() if reasoning else None
        self._tools = tools.stream() if tools else None
        self._parallel_calls = parallel_calls
        self.calls = 0
        """How many calls have begun; a finish reason of `tool_calls` wants at least one."""

    def feed(self, text: str, token_ids: Sequence[int] = ()) -> list[Delta]:
        """Take what was generated since the last call."""
        if self._reasoning is None:
            return self._read(ContentDelta(text), token_ids)
        return self._read_all(self._reasoning.feed(text, token_ids))

    def finish(self) -> list[Delta]:
        """The output has ended: give what was held back."""
        deltas = self._read_all(self._reasoning.finish()) if self._reasoning else []
        return deltas + (self._counted(self._tools.finish()) if self._tools else [])

    def _read_all(self, deltas: Iterable[Delta]) -> list[Delta]:
        return [read for delta in deltas for read in self._read(delta)]

    def _read(self, delta: Delta, token_ids: Sequence[int] = ()) -> list[Delta]:
        if self._tools is not None and isinstance(delta, ContentDelta):
            return self._counted(self._tools.feed(delta.text, token_ids))
        return [delta] if isinstance(delta, ToolCallDelta) or delta.text else []

    def _counted(self, deltas: Iterable[Delta]) -> list[Delta]:
        kept = [delta for delta in deltas if self._parallel_calls or not _is_further_call(delta)]
        self.calls += sum(isinstance(delta, ToolCallDelta) and delta.name is not None for delta in kept)
        return kept


def parse_output(
    text: str,
    token_ids: Sequence[int] = (),
    *,
    reasoning: ReasoningParser | None = None,
    tools: ToolParser | None = None,
    parallel_calls: bool = True,
) -> ParsedOutput:
    """Read a whole output with the parsers that there are."""
    thought: str | None = None
    if reasoning is not None:
        parted = reasoning.parse(text, token_ids)
        thought, text, token_ids = parted.reasoning, parted.content, ()
    if tools is None:
        return ParsedOutput(reasoning=thought, content=text)
    parsed = tools.parse(text, token_ids)
    calls = parsed.calls if parallel_calls else parsed.calls[:1]
    return ParsedOutput(reasoning=thought, content=parsed.content, calls=calls)


def _is_further_call(delta: Delta) -> bool:
    return isinstance(delta, ToolCallDelta) and delta.index > 0
