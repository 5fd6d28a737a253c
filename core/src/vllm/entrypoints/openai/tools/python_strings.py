"""Owns Python string literals that arrive in pieces: each piece becomes JSON at once, no escape is cut in two."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

from vllm.entrypoints.openai.text_source import Program, TextSource
from vllm.entrypoints.openai.value_scanner import json_text

__all__ = ["copy_python_string"]

_LONGEST_ESCAPE = 9
r"""Characters behind the backslash of `\U0001F600`."""
_ESCAPE = re.compile(r"x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-7]{1,3}|.", re.DOTALL)


def copy_python_string(source: TextSource, quote: str, sink: Callable[[str], object]) -> Program[bool]:
    """Give the string behind its opening `quote` to `sink` as JSON, quotes included; False where it is cut off."""
    sink('"')
    while end := (yield from source.copy_until((quote, "\\"), lambda text: sink(json_text(text)[1:-1]))):
        if end == quote:
            sink('"')
            return True
        following = yield from source.peek(_LONGEST_ESCAPE)
        escape = _ESCAPE.match(following)
        if escape is None:
            return False
        yield from source.take(escape.group())
        sink(json_text(_meaning(f"\\{escape.group()}"))[1:-1])
    return False


def _meaning(escape: str) -> str:
    """What an escape stands for; itself where it stands for nothing, as in Python."""
    if escape in _PLAIN:
        return _PLAIN[escape]
    try:
        return str(ast.literal_eval(f'"{escape}"')) if escape[1] in "xuU01234567" else escape
    except SyntaxError:
        return escape


_PLAIN = {
    "\\\n": "",
    "\\\\": "\\",
    "\\'": "'",
    '\\"': '"',
    "\\a": "\a",
    "\\b": "\b",
    "\\f": "\f",
    "\\n": "\n",
    "\\r": "\r",
    "\\t": "\t",
    "\\v": "\v",
}
