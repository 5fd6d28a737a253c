"""Owns the list of all laws, in the order in which they are checked: what everything stands on first."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from fnmatch import fnmatchcase
from importlib import import_module

from vllm.errors import ConfigError, near_names
from vllm.testing.law import Law

__all__ = ["AREAS", "all_laws", "select_laws"]

AREAS = ("contract", "memory", "ops", "attention", "sampler", "collectives", "generation")


@functools.cache
def all_laws() -> tuple[Law, ...]:
    """Every law, area by area, each area in the order of its file."""
    modules = [import_module(f"vllm.testing.laws.{area}") for area in AREAS]
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Law))


def select_laws(patterns: Iterable[str] = (), *, quick: bool = False) -> tuple[Law, ...]:
    """The laws that a pattern names ("attention", "attention.sliding_window", "*.rms*"); without patterns all.

    Raises:
        ConfigError: a pattern names no law, or `quick` leaves none.
    """
    laws, wanted = all_laws(), tuple(patterns)
    for pattern in wanted:
        if not any(_matches(law, pattern) for law in laws):
            names = [*AREAS, *(law.full_name for law in laws)]
            raise ConfigError(
                f"No law is called {pattern!r}.",
                remedy=f"name an area ({', '.join(AREAS)}), a law, or a pattern with *",
                candidates=near_names(pattern, names),
            )
    chosen = [law for law in laws if not wanted or any(_matches(law, pattern) for pattern in wanted)]
    kept = tuple(law for law in chosen if law.is_quick or not quick)
    if not kept:
        raise ConfigError(
            f"A quick run has none of the laws {', '.join(wanted)}: they take processes, or long.",
            remedy="leave --quick out",
        )
    return kept


def _matches(law: Law, pattern: str) -> bool:
    return law.area == pattern or fnmatchcase(law.full_name, pattern)
