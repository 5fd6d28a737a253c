"""Owns the format of Qwen3-Coder: `<tool_call><function=NAME><parameter=KEY>VALUE</parameter>…</function></tool_call>`.

Format: the chat template of Qwen/Qwen3-Coder-30B-A3B-Instruct. Values are bare text between line breaks; the tool's schema says what they
are. The outer tag, and an end tag before the next begin tag, may be missing: models leave them out.
"""

from __future__ import annotations

from vllm.entrypoints.openai.parsers_interface import ToolParser
from vllm.entrypoints.openai.text_source import Program
from vllm.entrypoints.openai.tools.program import ToolProgram
from vllm.entrypoints.openai.tools.schema_types import json_from_text, parameter_schema, takes_only_text
from vllm.entrypoints.openai.value_scanner import json_text

__all__ = ["QwenXmlToolParser"]

CALL, FUNCTION, PARAMETER = "<tool_call>", "<function=", "<parameter="
END_CALL, END_FUNCTION, END_PARAMETER = "</tool_call>", "</function>", "</parameter>"
_VALUE_ENDS = (f"\n{END_PARAMETER}", END_PARAMETER, f"\n{PARAMETER}", f"\n{END_FUNCTION}", END_FUNCTION)


class QwenXmlToolParser(ToolParser):
    """`qwen3_coder` and `qwen3_xml`."""

    @property
    def needs_special_tokens(self) -> bool:
        return self.context.hides((CALL, END_CALL))

    def stream(self) -> ToolProgram:
        return _QwenXmlProgram(self)


class _QwenXmlProgram(ToolProgram):
    def read(self) -> Program[None]:
        while tag := (yield from self.source.copy_until((CALL, FUNCTION), self.content)):
            self.source.pin()
            if not (yield from self._function(tag)):
                self.source.rewind()
                self.content(tag)

    def _function(self, tag: str) -> Program[bool]:
        """One call behind its tag; False where there is none."""
        if tag == CALL:
            yield from self.source.skip_blank()
            if not (yield from self.source.take(FUNCTION)):
                return False
        name = yield from self._tag_name()
        if not name:
            return False
        self.open_call(name)
        self.arguments("{")
        if (yield from self._parameters(name)):
            self.arguments("}")
        self.close_call()
        yield from self.source.skip_blank()
        yield from self.source.take(END_CALL)
        return True

    def _tag_name(self) -> Program[str]:
        """What stands up to `>`; "" where that is no name."""
        pieces: list[str] = []
        end = yield from self.source.copy_until((">", "<", "\n"), pieces.append)
        return "".join(pieces).strip() if end == ">" else ""

    def _parameters(self, function: str) -> Program[bool]:
        """All arguments, up to the function's end tag; False where the output is cut off before. What stands between is content."""
        separator = ""
        tag = yield from self._next_tag()
        while tag == PARAMETER:
            key = yield from self._tag_name()
            self.arguments(f"{separator}{json_text(key)}: ")
            separator = ", "
            end = yield from self._value(function, key)
            tag = end.lstrip("\n") if end.endswith((PARAMETER, END_FUNCTION)) else (yield from self._next_tag())
        return tag in (END_FUNCTION, END_CALL)

    def _next_tag(self) -> Program[str]:
        """The next tag of a call, "" where the output is cut off. Text where none belongs is content, and makes the call malformed."""
        yield from self.source.skip_blank()
        return (yield from self.source.copy_until((PARAMETER, END_FUNCTION, END_CALL), self._stray))

    def _stray(self, text: str) -> None:
        self.mar_call()
        self.content(text)

    def _value(self, function: str, key: str) -> Program[str]:
        """One value; the tag that ended it, "" where the output is cut off."""
        tool = self.parser.context.tool(function)
        schema = parameter_schema(tool.parameters if tool else None, key)
        yield from self.source.take("\n")
        if takes_only_text(schema):
            self.arguments('"')
            end = yield from self.source.copy_until(_VALUE_ENDS, lambda text: self.arguments(json_text(text)[1:-1]))
            self.arguments('"' if end else "")
            return end
        pieces: list[str] = []
        end = yield from self.source.copy_until(_VALUE_ENDS, pieces.append)
        self.arguments(json_from_text("".join(pieces), schema) if end else "")
        return end
