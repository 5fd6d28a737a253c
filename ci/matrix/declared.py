"""`ci/matrix.toml` as data: the stack's versions, what a machine must have, and each package's variants."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet

from ci.packages import PACKAGES, ROOT, Package, package

__all__ = ["FILE", "Declared", "MatrixError", "Need", "Row", "Session", "Stack", "Variant", "load"]

FILE = ROOT / "ci" / "matrix.toml"


class MatrixError(ValueError):
    """The file, or a question about it, makes no sense; the message says where."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Stack:
    """What lies below core. Versions of torch and transformers mean nothing to a cell without torch."""

    python: str
    torch: str
    transformers: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Need:
    """One thing that a machine must have; exactly one of `package`, `program`, `device`, `by_hand` says what kind."""

    name: str
    package: str | None = None
    program: str | None = None
    version: str | None = None
    device: str | None = None
    by_hand: str | None = None
    absent: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Variant:
    """One way to test a package. See the file's comments for what the fields mean."""

    name: str
    says: str
    limit_s: int
    kit: tuple[str, ...] | None = None
    tests: tuple[str, ...] = ()
    torch: bool = True
    needs: tuple[Need, ...] = ()
    beside: tuple[Package, ...] = ()
    first: tuple[tuple[str, ...], ...] = ()
    under: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One package: which of its releases are tested, and how; the first variant meets every release."""

    package: Package
    supported: SpecifierSet
    variants: tuple[Variant, ...]

    def variant(self, name: str) -> Variant:
        """Raises `MatrixError` with the known names."""
        known = {variant.name: variant for variant in self.variants}
        if name not in known:
            raise MatrixError(f"{self.package.name} has no variant {name!r}; it has {', '.join(known)}")
        return known[name]


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """What a session of nox that is no cell looks at."""

    name: str
    packages: tuple[Package, ...]
    files: tuple[str, ...]
    """Globs over paths from the root; `**` crosses folders."""
    modules: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Declared:
    """The whole file. The first of each list is what the rest is tested on."""

    pythons: tuple[str, ...]
    torches: tuple[str, ...]
    transformers: tuple[str, ...]
    unpinned: Mapping[str, tuple[str, ...]]
    rows: tuple[Row, ...]
    sessions: tuple[Session, ...]

    @property
    def main(self) -> Stack:
        return Stack(python=self.pythons[0], torch=self.torches[0], transformers=self.transformers[0])

    def row(self, entry: Package) -> Row:
        """Raises `MatrixError` where the package has none."""
        found = next((row for row in self.rows if row.package == entry), None)
        if found is None:
            raise MatrixError(
                f"{entry.name} is not in the matrix: {', '.join(row.package.name for row in self.rows)} are"
            )
        return found


def load(file: Path = FILE) -> Declared:
    """The file's content.

    Raises:
        MatrixError: a name in it is not known, or a variant tests nothing.
    """
    content = tomllib.loads(file.read_text(encoding="utf-8"))
    needs = {name: Need(name=name, **fields) for name, fields in content["needs"].items()}
    stack = content["stack"]
    return Declared(
        pythons=tuple(stack["python"]),
        torches=tuple(stack["torch"]),
        transformers=tuple(stack["transformers"]),
        unpinned={name: tuple(names) for name, names in content["unpinned"].items()},
        rows=tuple(_row(name, fields, needs) for name, fields in content["packages"].items()),
        sessions=tuple(_session(name, fields) for name, fields in content["sessions"].items()),
    )


def _session(name: str, fields: Mapping[str, Any]) -> Session:
    return Session(
        name=name,
        packages=tuple(package(other) for other in fields.get("packages", ())),
        files=tuple(fields.get("files", ())),
        modules=tuple(fields.get("modules", ())),
    )


def _row(name: str, fields: Mapping[str, Any], needs: Mapping[str, Need]) -> Row:
    if name not in {entry.name for entry in PACKAGES}:
        raise MatrixError(f"[packages.{name}]: no such package in ci/packages.py")
    variants = tuple(_variant(f"{name}.{key}", key, values, needs) for key, values in fields["variants"].items())
    return Row(package=package(name), supported=SpecifierSet(fields["supported"], prereleases=True), variants=variants)


def _variant(place: str, name: str, fields: Mapping[str, Any], needs: Mapping[str, Need]) -> Variant:
    unknown = [need for need in fields.get("needs", ()) if need not in needs]
    if unknown:
        raise MatrixError(f"[packages.{place}] needs {', '.join(unknown)}; [needs] has {', '.join(needs)}")
    if fields.get("torch", True) and "kit" not in fields and "tests" not in fields:
        raise MatrixError(f"[packages.{place}] tests nothing: it has neither `kit` nor `tests`")
    try:
        return Variant(
            name=name,
            says=fields["says"],
            limit_s=fields["limit_s"],
            kit=tuple(fields["kit"]) if "kit" in fields else None,
            tests=tuple(fields.get("tests", ())),
            torch=fields.get("torch", True),
            needs=tuple(needs[need] for need in fields.get("needs", ())),
            beside=tuple(package(other) for other in fields.get("beside", ())),
            first=tuple(tuple(command) for command in fields.get("first", ())),
            under=tuple(fields.get("under", ())),
            environment=tuple(fields.get("environment", {}).items()),
        )
    except KeyError as missing:
        raise MatrixError(f"[packages.{place}] lacks {missing}") from None
