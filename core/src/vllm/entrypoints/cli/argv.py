"""Owns the spellings of a command line, before any option is known: `_` for `-`, and single entries of JSON options."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from vllm.entrypoints.cli.errors import UsageError

__all__ = ["merged", "normalized"]

_FLAG = re.compile(r"(?P<dashes>--?)(?P<name>[A-Za-z][\w-]*)(?P<path>(?:\.[\w-]+)*)(?P<value>=.*)?", re.DOTALL)


def normalized(argv: Sequence[str]) -> list[str]:
    """The same words with flags in one spelling; `--a.b.c v` becomes `--a '{"b": {"c": v}}'`. Stops at a bare `--`."""
    words = iter(argv)
    result: list[str] = []
    for word in words:
        if word == "--":
            return [*result, word, *words]
        match = _FLAG.fullmatch(word)
        result += [word] if match is None else _flag(match, words)
    return result


def _flag(match: re.Match[str], following: Iterator[str]) -> list[str]:
    is_short = match["dashes"] == "-"
    name = match["dashes"] + (match["name"] if is_short else match["name"].replace("_", "-"))
    value = match["value"]
    if not match["path"]:
        return [name + (value or "")]
    if value is None:
        value = "=" + _next(following, match[0])
    return [f"{name}={_nested(match['path'][1:].split('.'), value[1:])}"]


def _next(following: Iterator[str], flag: str) -> str:
    try:
        return next(following)
    except StopIteration:
        raise UsageError(f"{flag} needs a value.") from None


def _nested(path: Sequence[str], value: str) -> str:
    """JSON of `value` under `path`; a value that is no JSON is a text."""
    entry: Any
    try:
        entry = json.loads(value)
    except ValueError:
        entry = value
    for key in reversed(path):
        entry = {key: entry}
    return json.dumps(entry)


def merged(first: Any, second: Any) -> Any:
    """Two JSON objects as one, the second wins; anything else is replaced by the second."""
    if not (isinstance(first, dict) and isinstance(second, dict)):
        return second
    return {**first, **{key: merged(first.get(key), value) for key, value in second.items()}}
