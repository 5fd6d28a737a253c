"""Owns the small checks that user-given request parameters pass through: each returns the normalised value or raises
`InvalidRequestError` with the field's name, the value and the limit. Nothing here knows a whole `SamplingParams`."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, NoReturn

from vllm.errors import InvalidRequestError

__all__ = [
    "integer",
    "integer_list",
    "logit_bias_map",
    "number",
    "optional_integer",
    "out_of_vocabulary",
    "reject",
    "string_list",
]


def reject(name: str, value: object, rule: str) -> NoReturn:
    """Raise the one error of this module; `rule` completes the sentence "`name` …"."""
    raise InvalidRequestError(f"`{name}` {rule}, got {_shown(value)}.", parameter=name)


def _shown(value: object) -> str:
    """The value as the user typed it, cut where it would flood the message."""
    try:
        text = repr(value)
    except RecursionError:
        text = reprlib.repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."


def number(
    name: str, value: Any, *, low: float = -math.inf, high: float = math.inf, low_excluded: bool = False
) -> float:
    """A finite real number within [low, high] — or (low, high] — as a float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        reject(name, value, "must be a number")
    result = float(value)
    too_low = result <= low if low_excluded else result < low
    if not math.isfinite(result) or too_low or result > high:
        reject(name, value, f"must be {_range(low, high, low_excluded)}")
    return result


def _range(low: float, high: float, low_excluded: bool) -> str:
    if low == -math.inf and high == math.inf:
        return "a finite number"
    if high == math.inf:
        return f"a finite number {'greater than' if low_excluded else 'of at least'} {low:g}"
    return f"within {'(' if low_excluded else '['}{low:g}, {high:g}]"


def integer(name: str, value: Any, *, low: int | None = None, high: int | None = None) -> int:
    """An integer within [low, high] as a Python int; bool and float are refused."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        reject(name, value, "must be an integer")
    result = int(value)
    if low is not None and result < low:
        reject(name, value, f"must be at least {low}")
    if high is not None and result > high:
        reject(name, value, f"must be at most {high}")
    return result


def optional_integer(name: str, value: Any, *, low: int | None = None, high: int | None = None) -> int | None:
    """As `integer`, with None for "not given"."""
    return None if value is None else integer(name, value, low=low, high=high)


def integer_list(name: str, value: Any, *, low: int = 0) -> list[int]:
    """Any iterable of integers of at least `low` as a list; None gives the empty list."""
    if value is None:
        return []
    if isinstance(value, (str, bytes, Mapping)) or not isinstance(value, Iterable):
        reject(name, value, "must be a list of integers")
    return [integer(f"{name}[{i}]", item, low=low) for i, item in enumerate(value)]


def string_list(name: str, value: Any) -> list[str]:
    """One string or several as a list of non-empty strings; None gives the empty list."""
    if value is None:
        return []
    items = [value] if isinstance(value, str) else value
    if isinstance(items, (bytes, Mapping)) or not isinstance(items, Iterable):
        reject(name, value, "must be a string or a list of strings")
    result = list(items)
    for i, item in enumerate(result):
        if not isinstance(item, str):
            reject(f"{name}[{i}]", item, "must be a string")
        if not item:
            reject(f"{name}[{i}]", item, "must not be an empty string")
    return result


MAX_BIAS = 1e9
"""Far beyond any logit, and within float32 after every other rule."""


def logit_bias_map(name: str, value: Any) -> dict[int, float]:
    """Token id → bias. Keys may be numbers or their decimal text (as JSON objects have them)."""
    if not isinstance(value, Mapping):
        reject(name, value, "must be a mapping from token id to bias")
    return {
        _bias_key(name, key): number(f"{name}[{key}]", bias, low=-MAX_BIAS, high=MAX_BIAS)
        for key, bias in value.items()
    }


def _bias_key(name: str, key: Any) -> int:
    if isinstance(key, str) and key.isascii() and key.isdigit():
        return int(key)
    return integer(f"{name} key", key, low=0)


def out_of_vocabulary(name: str, token_ids: Iterable[int], vocab_size: int) -> None:
    """Raise if an id lies outside [0, vocab_size)."""
    outside = [i for i in token_ids if not 0 <= i < vocab_size]
    if outside:
        raise InvalidRequestError(
            f"`{name}` names token ids outside the vocabulary: {_shown(outside)}. This model's vocabulary has "
            f"{vocab_size} tokens, so ids run from 0 to {vocab_size - 1}.",
            parameter=name,
        )
