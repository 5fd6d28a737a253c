"""Owns what a law is: a sentence about every platform, the function that checks it, and what a platform must be able to do for it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vllm.platforms.capabilities import Feature

if TYPE_CHECKING:
    from vllm.testing.bench import Bench

__all__ = ["Law", "LawBroken", "law"]


class LawBroken(AssertionError):
    """A platform breaks a law. The text says what was expected, what was found, and where to look."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Law:
    """One law. `check(bench)` returns if it holds, raises LawBroken if not; any other error is an error of the platform."""

    area: str
    """The file it stands in: contract, memory, attention, …"""
    name: str
    sentence: str
    check: Callable[[Bench], None]
    needs: tuple[Feature, ...]
    """A platform that declines one of these, with a reason, is excused."""
    per_dtype: bool
    is_quick: bool
    """Part of `--quick`."""
    devices: int = 1
    """How many it needs: with fewer it is not testable."""

    @property
    def full_name(self) -> str:
        """ "attention.sliding_window": how reports and `--law` name it."""
        return f"{self.area}.{self.name}"


def law(
    *needs: Feature, per_dtype: bool = True, quick: bool = True, devices: int = 1
) -> Callable[[Callable[[Bench], None]], Law]:
    """Decorator: this function is a law, its docstring's first line the sentence that reports show."""

    def make(check: Callable[[Bench], None]) -> Law:
        sentence = (inspect.getdoc(check) or "").partition("\n")[0]
        assert sentence, f"the law {check.__qualname__} says nothing"
        return Law(
            area=check.__module__.rpartition(".")[2],
            name=check.__name__,
            sentence=sentence,
            check=check,
            needs=needs,
            per_dtype=per_dtype,
            is_quick=quick,
            devices=devices,
        )

    return make
