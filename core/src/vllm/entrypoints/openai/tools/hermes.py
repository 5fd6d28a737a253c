"""Owns the format of Hermes and Qwen 2.5: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, any number of times.

Format: the tool-use chat templates of NousResearch/Hermes-2-Pro and Qwen/Qwen2.5.
"""

from __future__ import annotations

from vllm.entrypoints.openai.parsers_interface import ToolParser
from vllm.entrypoints.openai.text_source import Program
from vllm.entrypoints.openai.tools.call_object import CallObject
from vllm.entrypoints.openai.tools.program import ToolProgram

__all__ = ["HermesToolParser"]

BEGIN, END = "<tool_call>", "</tool_call>"


class HermesToolParser(ToolParser):
    """`hermes`."""

    @property
    def needs_special_tokens(self) -> bool:
        return self.context.hides((BEGIN, END))

    def stream(self) -> ToolProgram:
        return _HermesProgram(self)


class _HermesProgram(ToolProgram):
    def read(self) -> Program[None]:
        tags: tuple[str, ...] = (BEGIN,)
        while tag := (yield from self.source.copy_until(tags, self.content)):
            tags = (BEGIN,)
            if tag == BEGIN and (yield from self._call()):
                tags = (BEGIN, END)

    def _call(self) -> Program[bool]:
        """What follows the tag. True where the end tag is still to come; text that is no call becomes content, its tag too."""
        self.source.pin()
        yield from self.source.skip_blank()
        call = CallObject(self)
        if not (yield from call.read()):
            self.source.rewind()
            self.content(BEGIN)
            return False
        yield from call.close(end=END)
        if call.complete:
            yield from self._forgive_braces()
        return call.complete

    def _forgive_braces(self) -> Program[None]:
        """Models close a brace too many."""
        yield from self.source.skip_blank()
        while (yield from self.source.take("}")):
            yield from self.source.skip_blank()
