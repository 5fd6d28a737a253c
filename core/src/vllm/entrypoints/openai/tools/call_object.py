"""Owns the reading of calls written as JSON: `{"name": …, "arguments": {…}}`, alone or in a list, arguments given out as they arrive."""

from __future__ import annotations

import json

from vllm.entrypoints.openai.text_source import Program, ignore
from vllm.entrypoints.openai.tools.program import ToolProgram
from vllm.entrypoints.openai.value_scanner import is_json_object, json_scanner, without_surrogates

__all__ = ["ARGUMENT_KEYS", "CallObject", "read_call_list"]

ARGUMENT_KEYS = frozenset({"arguments", "parameters"})
_USUAL_KEYS = ARGUMENT_KEYS | {"name", "id", "type"}


class CallObject:
    """Reads one object. `picky` is for text that no tag announces: any unusual key, or missing arguments, and it is no call."""

    def __init__(self, program: ToolProgram, *, picky: bool = False) -> None:
        self._program, self._source, self._picky = program, program.source, picky
        self._name: str | None = None
        self._waiting: list[str] | None = None
        """Arguments that came before the name."""
        self.begun = False
        self._complete = False

    def read(self) -> Program[bool]:
        """True where the call was given out. Else nothing was passed: the text is as it was.

        A call whose arguments are whole counts even where the object around them is cut off.
        """
        self._source.pin()
        sound = yield from self._members()
        if sound and self._name and not self.begun and self._waiting is None and not self._picky:
            self._give("{}")
            self._complete = True
            self._begin()
        if not self.begun:
            self._source.rewind()
        return self.begun

    def close(self, *, end: str | None = None) -> Program[None]:
        """After `read`: what is left of broken arguments, up to the tag `end` if there is one, belongs to them: nothing is lost."""
        if not self._complete and end is not None:
            yield from self._source.copy_until((end,), self._program.arguments)
        elif not self._complete:
            yield from self._source.copy_rest(self._program.arguments)
        self._program.close_call()

    @property
    def complete(self) -> bool:
        """Whether the arguments were read to their end."""
        return self._complete

    def _members(self) -> Program[bool]:
        if not (yield from self._source.take("{")):
            return False
        while True:
            yield from self._source.skip_blank()
            if (yield from self._source.take("}")):
                return True
            if not (yield from self._member()):
                return False
            yield from self._source.skip_blank()
            if not (yield from self._source.take(",")):
                return (yield from self._source.take("}"))

    def _member(self) -> Program[bool]:
        key = yield from self._string()
        if key is None or (self._picky and not self.begun and key not in _USUAL_KEYS):
            return False
        yield from self._source.skip_blank()
        if not (yield from self._source.take(":")):
            return False
        yield from self._source.skip_blank()
        return (yield from self._value(key))

    def _value(self, key: str) -> Program[bool]:
        if key == "name" and self._name is None:
            self._name = yield from self._string()
            if self._name and self._waiting is not None:
                self._begin()
            return bool(self._name)
        if key in ARGUMENT_KEYS and self._waiting is None and not self.begun:
            return (yield from self._arguments())
        return (yield from self._source.copy_value(json_scanner(), ignore))

    def _string(self) -> Program[str | None]:
        """A JSON string's text; None where something else stands, or half a character that no UTF-8 has."""
        if (yield from self._source.peek()) != '"':
            return None
        pieces: list[str] = []
        if not (yield from self._source.copy_value(json_scanner(), pieces.append)):
            return None
        try:
            text = str(json.loads("".join(pieces)))
        except ValueError:
            return None
        return text if without_surrogates(text) == text else None

    def _arguments(self) -> Program[bool]:
        """An object is given out as it arrives; text that holds an object, and null, when they are whole."""
        if (yield from self._source.peek()) == "{":
            if self._name:
                self._begin()
            self._complete = yield from self._source.copy_value(json_scanner(), self._give)
            return self._complete
        text = yield from self._other_arguments()
        if text is None:
            return False
        self._give(text)
        self._complete = True
        if self._name:
            self._begin()
        return True

    def _other_arguments(self) -> Program[str | None]:
        if (yield from self._source.take("null")):
            return "{}"
        text = yield from self._string()
        if text is None or not (is_json_object(text) or not text.strip()):
            return None
        return text if text.strip() else "{}"

    def _begin(self) -> None:
        assert self._name is not None
        self.begun = True
        self._program.open_call(self._name)
        for text in self._waiting or ():
            self._program.arguments(text)

    def _give(self, text: str) -> None:
        if self.begun:
            self._program.arguments(text)
        elif self._waiting is None:
            self._waiting = [text]
        else:
            self._waiting.append(text)


def read_call_list(program: ToolProgram) -> Program[bool]:
    """A JSON list of calls, its bracket included. False (and nothing passed) where the first element is no call."""
    source = program.source
    source.pin()
    found = 0
    if (yield from source.take("[")):
        while True:
            yield from source.skip_blank()
            call = CallObject(program)
            if not (yield from call.read()):
                break
            found += 1
            yield from call.close()
            yield from source.skip_blank()
            if not (yield from source.take(",")):
                yield from source.take("]")
                break
    if not found:
        source.rewind()
    return bool(found)
