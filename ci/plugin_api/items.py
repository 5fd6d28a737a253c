"""One entry of the interface, and its line in the lock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from itertools import groupby

__all__ = ["Item", "Kind", "parse", "render"]

HEADER = "# The plugin-facing interface of core. Written by `nox -s api -- --write`, read by `nox -s api`; do not edit."
_INDENT = "    "
_LINE = re.compile(
    r"(?P<indent> {4})?(?P<marks>(?:(?:abstract|final|classmethod|staticmethod) )*)"
    r"(?P<kind>class|def|property|field|export) (?P<name>\w+)(?P<text>.*)"
)


class Kind(Enum):
    """What an entry is; the value is its word in the lock."""

    CLASS = "class"
    FUNCTION = "def"
    PROPERTY = "property"
    FIELD = "field"
    EXPORT = "export"
    """A second import path of something that another module of the surface defines."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """A class, or a name in one, or a module's own name.

    `text` is what follows the name: `(self, device_id: int = 0) -> str`, `: int = 1`, `(Base) @dataclass(frozen=True)`.
    """

    module: str
    owner: str | None
    """The class it belongs to; None for a module's own name."""
    name: str
    kind: Kind
    text: str = ""
    marks: tuple[str, ...] = ()
    doc: str = field(default="", compare=False)
    """The docstring: for the page, not for the lock."""

    @property
    def path(self) -> str:
        """Where it lies, e.g. `vllm.platforms.interface.Platform.memory_info`."""
        return ".".join(part for part in (self.module, self.owner, self.name) if part)

    @property
    def parent(self) -> str:
        """The path of its class, or its module's."""
        return ".".join(part for part in (self.module, self.owner) if part)

    @property
    def is_abstract(self) -> bool:
        return "abstract" in self.marks

    @property
    def line(self) -> str:
        """Its line in the lock, without the indent."""
        return " ".join((*self.marks, self.kind.value, self.name + self.text))


def render(items: Iterable[Item]) -> str:
    """The lock's text: module by module, members indented below their class."""
    parts = [HEADER]
    for module, members in groupby(items, key=lambda item: item.module):
        lines = [f"{_INDENT if item.owner else ''}{item.line}" for item in members]
        parts.append("\n".join([f"module {module}", *lines]))
    return "\n\n".join(parts) + "\n"


def parse(text: str) -> list[Item]:
    """The items of a lock; raises `ValueError` with the number of a line that is none."""
    return list(_parsed(text.splitlines()))


def _parsed(lines: Iterable[str]) -> Iterator[Item]:
    module, owner = "", None
    for number, line in enumerate(lines, start=1):
        if not line or line.startswith("#"):
            continue
        if line.startswith("module "):
            module, owner = line.removeprefix("module "), None
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"line {number} of the lock is no entry: {line!r}")
        kind = Kind(found["kind"])
        if not found["indent"]:
            owner = found["name"] if kind is Kind.CLASS else None
        yield Item(
            module=module,
            owner=owner if found["indent"] else None,
            name=found["name"],
            kind=kind,
            text=found["text"],
            marks=tuple(found["marks"].split()),
        )
