"""Owns what all tool-call programs share: content with its white space, calls with their numbers, and the running of the program."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from vllm.entrypoints.openai.parsers_interface import ContentDelta, ToolCallDelta, ToolParser, ToolStream
from vllm.entrypoints.openai.text_source import Program, TextSource
from vllm.entrypoints.openai.value_scanner import is_json_object

__all__ = ["ToolProgram"]


class ToolProgram(ToolStream):
    """A tool stream whose reading is the generator `read`, a sequential program over `source` (see `TextSource`).

    White space that surrounds calls is no content: what stands alone before, between or after calls is left out.
    """

    def __init__(self, parser: ToolParser) -> None:
        self.parser = parser
        self.source = TextSource()
        self._deltas: list[ContentDelta | ToolCallDelta] = []
        self._blank = ""
        self._said_something = False
        self._index = -1
        self._arguments: list[str] = []
        self._malformed = False
        self._running: Program[None] | None = self.read()

    @abstractmethod
    def read(self) -> Program[None]:
        """The whole output, from its first character to its end."""

    @property
    def malformed(self) -> bool:
        return self._malformed

    def feed(self, text: str, token_ids: Sequence[int] = ()) -> list[ContentDelta | ToolCallDelta]:
        self.source.add(text)
        return self._run()

    def finish(self) -> list[ContentDelta | ToolCallDelta]:
        self.source.ended = True
        deltas = self._run()
        if self._blank and self._index < 0:
            deltas.append(ContentDelta(self._blank))
        return deltas

    def content(self, text: str) -> None:
        """Say text that is no call."""
        text = self._blank + text
        self._blank = ""
        if not self._said_something and (not text or text.isspace()):
            self._blank = text
            return
        self._said_something = True
        self._deltas.append(ContentDelta(text))

    def open_call(self, name: str, call_id: str | None = None) -> None:
        """Begin the next call. There is no way back behind it."""
        self.source.commit()
        self._index += 1
        self._blank, self._said_something, self._arguments = "", False, []
        self._deltas.append(ToolCallDelta(index=self._index, id=call_id or self.parser.new_call_id(), name=name))

    def arguments(self, text: str) -> None:
        """Further arguments of the open call."""
        if text:
            self._arguments.append(text)
            self._deltas.append(ToolCallDelta(index=self._index, arguments=text))

    def close_call(self) -> None:
        """The open call has ended: are its arguments sound?"""
        self._malformed |= not is_json_object("".join(self._arguments))

    def mar_call(self) -> None:
        """The open call holds something that belongs into no call."""
        self._malformed = True

    def _run(self) -> list[ContentDelta | ToolCallDelta]:
        if self._running is not None and next(self._running, self) is self:
            self._running = None
        deltas, self._deltas = self._deltas, []
        return deltas
