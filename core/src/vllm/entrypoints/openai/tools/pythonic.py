"""Owns the format of Llama 3.2/4 and ToolACE: the whole answer is a Python list of calls, `[f(x=1), g(y="text")]`.

Values become JSON: strings as they arrive, others when they are whole. `<|python_start|>` and `<|python_end|>` may stand around the list.
Format: the chat template of meta-llama/Llama-3.2-1B-Instruct, and Team-ACE/ToolACE-8B.
"""

from __future__ import annotations

import re

from vllm.entrypoints.openai.parsers_interface import ToolParser
from vllm.entrypoints.openai.text_source import Program
from vllm.entrypoints.openai.tools.program import ToolProgram
from vllm.entrypoints.openai.tools.python_strings import copy_python_string
from vllm.entrypoints.openai.tools.schema_types import json_from_python
from vllm.entrypoints.openai.value_scanner import json_text, python_scanner

__all__ = ["PythonicToolParser"]

BEGIN, END = "<|python_start|>", "<|python_end|>"
_NAME = re.compile(r"[A-Za-z_][\w.-]*")
_KEY = re.compile(r"[A-Za-z_]\w*")


class PythonicToolParser(ToolParser):
    """`pythonic` and `llama4_pythonic`."""

    @property
    def needs_special_tokens(self) -> bool:
        return self.context.hides((BEGIN,))

    def stream(self) -> ToolProgram:
        return _PythonicProgram(self)


class _PythonicProgram(ToolProgram):
    def read(self) -> Program[None]:
        self.source.pin()
        yield from self.source.skip_blank()
        yield from self.source.take(BEGIN)
        yield from self.source.skip_blank()
        if not (yield from self.source.take("[")) or not (yield from self._calls()):
            self.source.rewind()
        yield from self.source.copy_rest(self.content)

    def _calls(self) -> Program[int]:
        """The list behind its bracket: how many calls there are."""
        count = 0
        while (yield from self._call()):
            count += 1
            yield from self.source.skip_blank()
            yield from self.source.take(",")
        if count:
            yield from self.source.skip_blank()
            yield from self.source.take("]")
            yield from self.source.take(END)
        return count

    def _call(self) -> Program[bool]:
        """One call. False where none stands here; a call that breaks later takes the rest of the output with it."""
        self.source.pin()
        yield from self.source.skip_blank()
        name = yield from self.source.take_match(_NAME)
        key = (yield from self._first_key()) if name else None
        if key is None:
            self.source.rewind()
            return False
        self.open_call(name)
        self.arguments("{")
        if (yield from self._keywords(key)):
            self.arguments("}")
        else:
            yield from self.source.copy_rest(self.arguments)
        self.close_call()
        return True

    def _first_key(self) -> Program[str | None]:
        """What stands behind the call's name: "" where it has no arguments, None where this is no call."""
        if not (yield from self.source.take("(")):
            return None
        yield from self.source.skip_blank()
        if (yield from self.source.take(")")):
            return ""
        return (yield from self._key()) or None

    def _key(self) -> Program[str]:
        """A keyword and its `=`; "" where none stands here."""
        key = yield from self.source.take_match(_KEY)
        yield from self.source.skip_blank()
        return key if key and (yield from self.source.take("=")) else ""

    def _keywords(self, key: str) -> Program[bool]:
        """All arguments up to the closing parenthesis; False where they break."""
        separator = ""
        while key:
            self.arguments(f"{separator}{json_text(key)}: ")
            separator = ", "
            yield from self.source.skip_blank()
            if not (yield from self._value()):
                return False
            yield from self.source.skip_blank()
            more = yield from self.source.take(",")
            yield from self.source.skip_blank()
            if (yield from self.source.take(")")):
                return True
            key = (yield from self._key()) if more else ""
            if not key:
                return False
        return True

    def _value(self) -> Program[bool]:
        quote = yield from self.source.take_any('"""', "'''", '"', "'")
        if quote:
            return (yield from copy_python_string(self.source, quote, self.arguments))
        pieces: list[str] = []
        complete = yield from self.source.copy_value(python_scanner(), pieces.append)
        text = "".join(pieces)
        value = json_from_python(text) if complete else None
        self.arguments(text if value is None else value)
        return value is not None
