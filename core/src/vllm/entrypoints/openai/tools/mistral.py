"""Owns Mistral's formats: `[TOOL_CALLS][{"name": …, "arguments": {…}}, …]`, and since tokenizer v11 `[TOOL_CALLS]name[ARGS]{…}`.

Format: the chat templates of mistralai/Mistral-7B-Instruct-v0.3 and mistralai/Mistral-Small-3.2. Ids are nine letters and digits, as the
templates demand.
"""

from __future__ import annotations

import re
import secrets
import string

from vllm.entrypoints.openai.parsers_interface import ToolParser
from vllm.entrypoints.openai.text_source import Program
from vllm.entrypoints.openai.tools.call_lists import CallListProgram
from vllm.entrypoints.openai.tools.program import ToolProgram
from vllm.entrypoints.openai.value_scanner import json_scanner

__all__ = ["MistralToolParser"]

BEGIN, ID, ARGUMENTS = "[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"
_NAME = re.compile(r"[\w.-]+")
_ID_CHARACTERS = 9


class MistralToolParser(ToolParser):
    """`mistral`."""

    @property
    def needs_special_tokens(self) -> bool:
        return self.context.hides((BEGIN,))

    def new_call_id(self) -> str:
        return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(_ID_CHARACTERS))

    def stream(self) -> ToolProgram:
        return _MistralProgram(self, begin=(BEGIN,))


class _MistralProgram(CallListProgram):
    def read_calls(self) -> Program[bool]:
        if (yield from self.source.peek()) == "[":
            return (yield from super().read_calls())
        return (yield from self._named_call())

    def _named_call(self) -> Program[bool]:
        name = yield from self.source.take_match(_NAME)
        yield from self.source.skip_blank()
        call_id = ""
        if (yield from self.source.take(ID)):
            call_id = yield from self.source.take_match(_NAME)
        yield from self.source.take(ARGUMENTS)
        yield from self.source.skip_blank()
        if not name or (yield from self.source.peek()) != "{":
            return False
        self.open_call(name, call_id or None)
        if not (yield from self.source.copy_value(json_scanner(), self.arguments)):
            yield from self.source.copy_rest(self.arguments)
        self.close_call()
        return True
