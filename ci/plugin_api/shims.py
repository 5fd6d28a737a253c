"""Deprecation shims that are due to go: read from core's sources, compared with core's next version.

A shim names the version in which it goes as a literal, `goes_in="0.3"` (`vllm.deprecation`).
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

__all__ = ["HELPERS", "Shim", "due_shims", "find_shims"]

HELPERS = ("deprecated", "renamed_parameter", "old_override", "moved_name")
"""The functions of `vllm.deprecation` that make a shim."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Shim:
    """One call of a helper. `line` counts from 1."""

    file: Path
    line: int
    goes_in: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: this shim goes in core {self.goes_in}: remove it, and what it keeps alive"


def find_shims(file: Path, text: str) -> Iterator[Shim]:
    """The shims of one file; raises `ValueError` for one whose version is not a literal."""
    for node in ast.walk(ast.parse(text)):
        if not (isinstance(node, ast.Call) and _called(node.func) in HELPERS):
            continue
        given = [keyword.value for keyword in node.keywords if keyword.arg == "goes_in"]
        if not (given and isinstance(given[0], ast.Constant) and isinstance(given[0].value, str)):
            raise ValueError(f'{file}:{node.lineno}: {_called(node.func)} needs goes_in as a literal text, e.g. "0.3"')
        yield Shim(file=file, line=node.lineno, goes_in=given[0].value)


def _called(function: ast.expr) -> str:
    return (
        function.attr if isinstance(function, ast.Attribute) else function.id if isinstance(function, ast.Name) else ""
    )


def due_shims(src: Path, coming: Version) -> list[Shim]:
    """The shims below `src` that must not be in version `coming`; `vllm/deprecation.py` itself holds the helpers."""
    files = (file for file in sorted(src.rglob("*.py")) if file.name != "deprecation.py")
    shims = (shim for file in files for shim in find_shims(file, file.read_text(encoding="utf-8")))
    return [shim for shim in shims if Version(shim.goes_in) <= Version(coming.base_version)]
