"""Owns the formats that are a JSON list of calls behind one tag; they differ in the tag alone.

Formats: the chat templates of ibm-granite/granite-3.x-instruct, ai21labs/AI21-Jamba and microsoft/Phi-4-mini-instruct.
"""

from __future__ import annotations

from typing import ClassVar

from vllm.entrypoints.openai.parsers_interface import ToolParser
from vllm.entrypoints.openai.text_source import Program
from vllm.entrypoints.openai.tools.call_object import read_call_list
from vllm.entrypoints.openai.tools.program import ToolProgram

__all__ = ["CallListProgram", "GraniteToolParser", "JambaToolParser", "Phi4MiniToolParser"]


class _CallListParser(ToolParser):
    begin: ClassVar[tuple[str, ...]]
    end: ClassVar[str | None] = None

    @property
    def needs_special_tokens(self) -> bool:
        return self.context.hides(self.begin)

    def stream(self) -> ToolProgram:
        return CallListProgram(self, begin=self.begin, end=self.end)


class GraniteToolParser(_CallListParser):
    """`granite`: `<|tool_call|>[{…}]` (3.0) or `<tool_call>[{…}]` (3.1 and later)."""

    begin = ("<|tool_call|>", "<tool_call>")


class JambaToolParser(_CallListParser):
    """`jamba`: `<tool_calls>[{…}]</tool_calls>`."""

    begin = ("<tool_calls>",)
    end = "</tool_calls>"


class Phi4MiniToolParser(_CallListParser):
    """`phi4_mini_json`: `functools[{…}]`."""

    begin = ("functools",)


class CallListProgram(ToolProgram):
    """Content, and behind each tag a list of calls."""

    def __init__(self, parser: ToolParser, *, begin: tuple[str, ...], end: str | None = None) -> None:
        super().__init__(parser)
        self._begin, self._end = begin, end

    def read(self) -> Program[None]:
        while tag := (yield from self.source.copy_until(self._begin, self.content)):
            self.source.pin()
            yield from self.source.skip_blank()
            if not (yield from self.read_calls()):
                self.source.rewind()
                self.content(tag)
                continue
            if self._end is not None:
                yield from self.source.skip_blank()
                yield from self.source.take(self._end)

    def read_calls(self) -> Program[bool]:
        """What stands behind the tag; False where it is no call."""
        return (yield from read_call_list(self))
