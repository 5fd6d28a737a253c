"""Owns how a plugin looks for what it needs, and remembers what it looked for: `vllm plugin doctor` shows it.

Nothing is imported: a vendor's package may need libraries that are missing, or claim the device.

    probes = Probes()
    if not probes.package("torch_chip"):
        raise Unavailable("the Python package torch_chip is not installed", "pip install torch_chip", probes=probes.findings)
"""

from __future__ import annotations

import os
import sys
from glob import glob
from importlib.util import find_spec

__all__ = ["Probes"]

_MOST_SHOWN = 4


class Probes:
    """Looks, and keeps one line per look in `findings`: what was looked for → what was found, or where it is not."""

    def __init__(self) -> None:
        self.findings: dict[str, str] = {}

    def package(self, name: str) -> bool:
        """Whether the top-level package `name` could be imported; ValueError for a part of one, which would import the whole to look."""
        if "." in name:
            raise ValueError(
                f"Probes.package looks for top-level packages: {name!r} would import {name.partition('.')[0]!r}"
            )
        spec = find_spec(name)
        places = [path for path in sys.path if path.endswith("-packages")] or sys.path
        where = f"at {spec.origin or 'a namespace'}" if spec else f"not in {_some(places)}"
        self.findings[f"Python package {name}"] = where
        return spec is not None

    def variable(self, name: str) -> str | None:
        """The environment variable's value; None where it is not set, or empty."""
        value = os.environ.get(name) or None
        self.findings[f"environment variable {name}"] = value or "not set"
        return value

    def path(self, pattern: str) -> tuple[str, ...]:
        """The files and folders that match `pattern`, in which * and ? stand for anything."""
        found = tuple(sorted(glob(pattern)))  # noqa: PTH207 - patterns are absolute, which Path.glob refuses
        self.findings[pattern] = _some(found) if found else "no such path"
        return found


def _some(paths: list[str] | tuple[str, ...]) -> str:
    more = f" and {len(paths) - _MOST_SHOWN} more" if len(paths) > _MOST_SHOWN else ""
    return ", ".join(paths[:_MOST_SHOWN]) + more
