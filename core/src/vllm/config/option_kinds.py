"""Owns how the value of an option is read: from a flag's text, a YAML scalar or a Python object, to the one value it means.

A `Kind` reads or raises `ValueError` with the clause that completes "must be …". The option adds its names around it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

__all__ = [
    "NUMBER",
    "SWITCH",
    "Kind",
    "choice",
    "dotted",
    "human_number",
    "mapping",
    "one_of_kinds",
    "real",
    "repeated",
    "several",
    "text",
    "whole",
]


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to read a value. `words` completes "must be …"; `placeholder` stands for the value in help."""

    words: str
    placeholder: str
    parse: Callable[[Any], Any]
    """Gives the value, or raises ValueError or TypeError; their text does not matter unless `tells_why`."""
    arity: Literal["switch", "one", "many", "repeated"] = "one"
    """many = `--flag a b c`; repeated = `--flag a --flag b`, for texts beside positional words."""
    is_mapping: bool = False
    """Whether single entries can be given, as `--option.key value`."""
    tells_why: bool = False
    """Whether the parser's own ValueError says more than `words` does."""
    choices: tuple[str, ...] = ()
    """Values worth naming when a wrong one is near."""

    def read(self, value: Any) -> Any:
        """The value meant. Raises ValueError with a clause."""
        try:
            return self.parse(value)
        except (ValueError, TypeError) as error:
            raise ValueError(str(error) if self.tells_why else self.words) from None


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}[str(value).casefold()]


def _switch_or_error(value: Any) -> bool:
    try:
        return _switch(value)
    except KeyError:
        raise ValueError from None


SWITCH = Kind("true or false", "", _switch_or_error, arity="switch")


def text(words: str = "a text", placeholder: str = "TEXT") -> Kind:
    """Any non-empty text; paths too."""

    def parse(value: Any) -> str:
        if isinstance(value, (bool, int, float, list, dict)) or not str(value):
            raise TypeError
        return str(value)

    return Kind(words, placeholder, parse)


def choice(*names: str, others: Mapping[str, str] | None = None) -> Kind:
    """One of `names`; `others` are accepted too and mean the name they map to. Numbers are compared as they are written."""
    means = {**{name: name for name in names}, **(others or {})}

    def parse(value: Any) -> str:
        if isinstance(value, bool) or str(value) not in means:
            raise ValueError
        return means[str(value)]

    return Kind(f"one of {', '.join(means)}", "{" + ",".join(means) + "}", parse, choices=tuple(means))


# ---- numbers

_SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
_HUMAN = re.compile(r"([+-]?\d+)(\.\d+)?([kKmMgGtT]?)")


def human_number(value: Any) -> int:
    """A whole number, with a suffix if wanted: 2k = 2,000 and 2K = 2,048; only the decimal ones take a fraction (25.6k)."""
    if isinstance(_no_switch(value), int):
        return int(value)
    match = _HUMAN.fullmatch(str(value).strip())
    if match is None:
        raise ValueError
    whole_part, fraction, suffix = match.groups()
    return int(whole_part) * _SUFFIXES.get(suffix, 1) if not fraction else _scaled(whole_part + fraction, suffix)


def _scaled(digits: str, suffix: str) -> int:
    from fractions import Fraction  # exact: 25.6k is 25,600

    number = Fraction(digits) * _SUFFIXES.get(suffix, 1)
    if suffix.isupper() or number.denominator != 1:
        raise ValueError
    return int(number)


def whole(*, at_least: int, at_most: int | None = None, human: bool = False) -> Kind:
    """A whole number within limits; `human` allows suffixes."""
    limits = f">= {at_least}" if at_most is None else f"from {at_least} to {at_most}"
    hint = " (2k = 2000 and 2K = 2048; k, m, g, t and K, M, G, T)" if human else ""

    def parse(value: Any) -> int:
        number = human_number(value if human or isinstance(value, int) else _plain(value))
        if number < at_least or (at_most is not None and number > at_most):
            raise ValueError
        return number

    return Kind(f"a whole number {limits}{hint}", "N", parse)


def _plain(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)


def real(*, above: float, at_most: float | None = None, or_equal: bool = False) -> Kind:
    """A number in (above, at_most], or [above, at_most] with `or_equal`."""
    lower = f"{'>=' if or_equal else '>'} {above:g}"
    words = f"a number {lower}" + (f" and <= {at_most:g}" if at_most is not None else "")

    def parse(value: Any) -> float:
        number = float(_no_switch(value))
        low_enough = at_most is None or number <= at_most
        high_enough = number > above or (or_equal and number == above)
        if not (low_enough and high_enough):  # written so that NaN fails too
            raise ValueError
        return number

    return Kind(words, "X", parse)


NUMBER = Kind("a number", "X", lambda value: float(_no_switch(value)))


def _no_switch(value: Any) -> Any:
    if isinstance(value, bool):
        raise TypeError
    return value


# ---- structures


def mapping(words: str = "a JSON object or a dictionary", *, function_too: bool = False) -> Kind:
    """A dictionary, or JSON text of one; with `function_too` a function is given back as it is."""

    def parse(value: Any) -> Any:
        read = json.loads(value) if isinstance(value, str) else value
        if function_too and callable(read):
            return read
        if not isinstance(read, Mapping):
            raise TypeError
        return dict(read)

    return Kind(words, "JSON", parse, is_mapping=True)


def dotted(words: str = "a dotted path such as package.module.Name, or a class", *, keeps_class: bool = False) -> Kind:
    """The dotted path of a class; a class itself stands for its own, or stays as it is with `keeps_class`."""

    def parse(value: Any) -> Any:
        if keeps_class and isinstance(value, type):
            return value
        path = f"{value.__module__}.{value.__qualname__}" if isinstance(value, type) else value
        if not isinstance(path, str):
            raise TypeError
        parts = path.replace(":", ".").split(".")
        if len(parts) < 2 or not all(part.isidentifier() for part in parts):
            raise ValueError
        return path

    return Kind(words, "PATH", parse)


def several(each: Kind, words: str) -> Kind:
    """A tuple of values; a single one stands for itself alone."""

    def parse(value: Any) -> tuple[Any, ...]:
        values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
        return tuple(each.read(one) for one in values)

    return Kind(words, each.placeholder, parse, arity="many")


def repeated(each: Kind) -> Kind:
    """A tuple of values whose flag is given once per value."""
    return replace(several(each, f"{each.words}, or a list of such"), arity="repeated")


def one_of_kinds(words: str, *kinds: Kind, placeholder: str) -> Kind:
    """The first of `kinds` that can read the value."""

    def parse(value: Any) -> Any:
        for kind in kinds[:-1]:
            with suppress(ValueError):
                return kind.read(value)
        return kinds[-1].read(value)

    names = tuple(name for kind in kinds for name in kind.choices)
    return Kind(words, placeholder, parse, choices=names)
