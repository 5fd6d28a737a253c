"""Owns the cutting of one output into parts, one after the other: reasoning, text, calls. APIs whose answers are lists of blocks are
written from these; what an API calls its blocks is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from vllm.entrypoints.openai.output_stream import OutputStream, parse_output
from vllm.entrypoints.openai.parsers_interface import ContentDelta, ReasoningDelta, ToolCallDelta

if TYPE_CHECKING:
    from vllm.entrypoints.openai.chat_tools import OutputReaders
    from vllm.entrypoints.openai.parsers_interface import Delta
    from vllm.outputs import CompletionOutput

__all__ = ["Part", "PartBegun", "PartEnded", "PartGrown", "PartStream", "Step", "parts_of"]

Kind = Literal["reasoning", "text", "call"]


@dataclass(kw_only=True, slots=True)
class Part:
    """A piece of the output; of a call, the text is its arguments as JSON."""

    kind: Kind
    index: int
    """Its place among all parts."""
    call_id: str = ""
    name: str = ""
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces)


@dataclass(frozen=True, slots=True)
class PartBegun:
    """A part that has no text yet."""

    part: Part


@dataclass(frozen=True, slots=True)
class PartGrown:
    """Further text of the part that began last; it is in the part already."""

    part: Part
    text: str


@dataclass(frozen=True, slots=True)
class PartEnded:
    """Nothing is added to the part any more."""

    part: Part


Step = PartBegun | PartGrown | PartEnded


def parts_of(output: CompletionOutput, readers: OutputReaders, *, parallel_calls: bool) -> list[Part]:
    """The parts of a whole output. Blank text beside other parts is none."""
    parsed = parse_output(
        output.text,
        output.token_ids,
        reasoning=readers.reasoning,
        tools=readers.tools,
        parallel_calls=parallel_calls,
    )
    found: list[Part] = []
    if parsed.reasoning:
        found.append(Part(kind="reasoning", index=0, pieces=[parsed.reasoning]))
    if parsed.content and not (parsed.content.isspace() and (parsed.calls or found)):
        found.append(Part(kind="text", index=len(found), pieces=[parsed.content]))
    for index, call in enumerate(parsed.calls, len(found)):
        found.append(Part(kind="call", index=index, call_id=call.id, name=call.name, pieces=[call.arguments]))
    return found


class PartStream:
    """The parts of one output as it arrives."""

    def __init__(self, readers: OutputReaders, *, parallel_calls: bool) -> None:
        self._stream = OutputStream(readers.reasoning, readers.tools, parallel_calls=parallel_calls)
        self.parts: list[Part] = []
        self._open: Part | None = None
        self._blank = ""
        """White space that becomes text only if there follows some."""

    def feed(self, output: CompletionOutput) -> list[Step]:
        """Take what is new of the output."""
        deltas = self._stream.feed(output.text, output.token_ids)
        if output.finish_reason is None:
            return self._steps(deltas)
        return [*self._steps([*deltas, *self._stream.finish()]), *self._last_blank(), *self._end()]

    def _steps(self, deltas: Sequence[Delta]) -> list[Step]:
        return [step for delta in deltas for step in self._of_one(delta)]

    def _of_one(self, delta: Delta) -> list[Step]:
        match delta:
            case ContentDelta(text):
                return self._text(text)
            case ReasoningDelta(text):
                return self._grow("reasoning", text)
            case ToolCallDelta():
                begun = self._begin("call", delta.id or "", delta.name) if delta.name is not None else []
                return [*begun, *self._grow("call", delta.arguments)]

    def _text(self, text: str) -> list[Step]:
        if self._open is None or self._open.kind != "text":
            text = self._blank + text
            self._blank = text if text.isspace() else ""
        return [] if self._blank else self._grow("text", text)

    def _last_blank(self) -> list[Step]:
        """An output of white space only is text."""
        return [] if self.parts else self._grow("text", self._blank)

    def _grow(self, kind: Kind, text: str) -> list[Step]:
        if not text:
            return []
        begun = [] if self._open is not None and self._open.kind == kind else self._begin(kind)
        assert self._open is not None
        self._open.pieces.append(text)
        return [*begun, PartGrown(self._open, text)]

    def _begin(self, kind: Kind, call_id: str = "", name: str = "") -> list[Step]:
        ended = self._end()
        self._blank = ""
        self._open = Part(kind=kind, index=len(self.parts), call_id=call_id, name=name)
        self.parts.append(self._open)
        return [*ended, PartBegun(self._open)]

    def _end(self) -> list[Step]:
        part, self._open = self._open, None
        return [] if part is None else [PartEnded(part)]
