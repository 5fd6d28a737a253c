"""Owns how large a constraint may be: what is larger is refused before anybody reads it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from vllm.errors import InvalidRequestError

if TYPE_CHECKING:
    from vllm.sampling_params import StructuredOutputsParams

__all__ = ["MAX_DEPTH", "MAX_SIZE_characters", "check_constraint_size"]

MAX_SIZE_characters = 1 << 18
"""All texts of a constraint together, and of a schema its keys and values, however they are written."""
MAX_DEPTH = 128
"""Levels of objects and lists in a schema."""


def check_constraint_size(params: StructuredOutputsParams) -> None:
    """Raise InvalidRequestError for a schema, regex, grammar or list of choices that is too large or nests too deep."""
    size = 0
    for characters, depth in _parts(_value(params)):
        size += characters
        if size > MAX_SIZE_characters:
            raise _refusal(params, f"is larger than the {MAX_SIZE_characters:,} characters that it may have")
        if depth > MAX_DEPTH:
            raise _refusal(params, f"nests deeper than {MAX_DEPTH} levels")


def _value(params: StructuredOutputsParams) -> Any:
    """What is compiled. A schema as text is read, unless it is too long for that; whoever compiles says what is wrong with it."""
    value = getattr(params, params.kind)
    if params.kind not in ("json", "structural_tag") or not isinstance(value, str) or len(value) > MAX_SIZE_characters:
        return value
    try:
        return json.loads(value)
    except RecursionError:
        raise _refusal(params, f"nests deeper than {MAX_DEPTH} levels") from None
    except ValueError:
        return value


def _refusal(params: StructuredOutputsParams, what: str) -> InvalidRequestError:
    name = f"structured_outputs.{params.kind}"
    return InvalidRequestError(f"`{name}` {what}.", parameter=name)


def _parts(root: Any) -> Iterator[tuple[int, int]]:
    """Every value of JSON-like data: its characters without what it holds, and its depth."""
    waiting = [(root, 0)]
    while waiting:
        value, depth = waiting.pop()
        if isinstance(value, str):
            yield len(value) + 1, depth
        elif isinstance(value, (Mapping, list)):
            yield len(value) + 1, depth + 1
            inside = itertools.chain.from_iterable(value.items()) if isinstance(value, Mapping) else value
            waiting.extend((each, depth + 1) for each in inside)
        else:
            yield 1, depth
