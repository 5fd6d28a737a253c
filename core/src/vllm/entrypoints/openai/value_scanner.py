"""Owns finding the end of a JSON value (or Python literal) that arrives in pieces, without building it.

Only brackets and quotes are looked at: whether the value is sound is asked of `json` when it is whole.
"""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["ValueScanner", "is_json_object", "json_scanner", "json_text", "python_scanner", "without_surrogates"]

_CLOSER = {"{": "}", "[": "]", "(": ")"}
_BRACKETS_AND_QUOTES = {quotes: re.compile(rf"[{re.escape(quotes)}(){{}}\[\]]") for quotes in ('"', "\"'")}
_QUOTE_OR_ESCAPE = {quote: re.compile(rf"[{quote}\\]") for quote in "\"'"}
_SCALAR_END = re.compile(r"[,)\]}\s]")
_CONTROL = re.compile(r"[\x00-\x1f]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


class ValueScanner:
    """Follows one value: an object, a list, a string, or a scalar (which ends before `,`, a closing bracket or white space)."""

    def __init__(self, quotes: str, *, escapes_controls: bool) -> None:
        self._quotes, self._escapes_controls = quotes, escapes_controls
        self._closers: list[str] = []
        self._quote = ""
        self._escaped = False
        self._begun = False
        self._scalar = False
        self.done = False
        self.failed = False

    @property
    def ends_with_text(self) -> bool:
        """Whether the value is whole if no more text comes: only a scalar's end shows in what follows it."""
        return self._scalar

    def scan(self, text: str, start: int) -> tuple[str, int]:
        """The part of the value in `text[start:]`, and how many characters that is; control characters in strings are escaped."""
        pieces: list[str] = []
        at = start
        while at < len(text) and not (self.done or self.failed):
            in_string = bool(self._quote)
            end = self._in_string(text, at) if in_string else self._between(text, at)
            piece = text[at:end]
            pieces.append(_escape_controls(piece) if in_string and self._escapes_controls else piece)
            at = end
        return "".join(pieces), at - start

    def _in_string(self, text: str, at: int) -> int:
        if self._escaped:
            self._escaped = False
            return at + 1
        found = _QUOTE_OR_ESCAPE[self._quote].search(text, at)
        if found is None:
            return len(text)
        self._escaped = found.group() == "\\"
        if not self._escaped:
            self._quote = ""
            self.done = not self._closers
        return found.end()

    def _between(self, text: str, at: int) -> int:
        if not self._begun:
            self._begun = True
            self._scalar = text[at] not in _CLOSER and text[at] not in self._quotes
        if self._scalar:
            found = _SCALAR_END.search(text, at)
            self.done = found is not None
            return len(text) if found is None else found.start()
        found = _BRACKETS_AND_QUOTES[self._quotes].search(text, at)
        if found is None:
            return len(text)
        return found.end() if self._enter(found.group()) else found.start()

    def _enter(self, character: str) -> bool:
        """Follow a bracket or quote; False where it closes what is not open."""
        if character in self._quotes:
            self._quote = character
        elif character in _CLOSER:
            self._closers.append(_CLOSER[character])
        elif self._closers and self._closers[-1] == character:
            self._closers.pop()
            self.done = not self._closers
        else:
            self.failed = True
        return not self.failed


def json_scanner() -> ValueScanner:
    """For JSON; a bare line break in a string, which models write and JSON forbids, becomes its escape."""
    return ValueScanner('"', escapes_controls=True)


def python_scanner() -> ValueScanner:
    """For Python literals."""
    return ValueScanner("\"'", escapes_controls=False)


def _escape_controls(piece: str) -> str:
    return _CONTROL.sub(lambda control: json.dumps(control.group())[1:-1], piece)


def is_json_object(text: str) -> bool:
    """Whether `text` is one sound JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def json_text(value: Any) -> str:
    """`value` as JSON, readable and safe to encode. Raises ValueError or TypeError for what JSON has not."""
    return without_surrogates(json.dumps(value, ensure_ascii=False, allow_nan=False))


def without_surrogates(text: str) -> str:
    """Halves of surrogate pairs, which no UTF-8 has, as JSON escapes."""
    return _SURROGATE.sub(lambda half: f"\\u{ord(half.group()):04x}", text)
