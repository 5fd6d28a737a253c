"""The cells: which there are, what each is called, and which one a name means.

A cell is one variant of one package at one release, on one core, Python, torch and transformers. Its name leaves out what
is the tree's and the file's first: `plugin(ascend, core=0.1.0, py=3.11)`, `plugin(spyre 0.2.0, core=tree, py=3.11, checked)`,
`notorch(core=tree, py=3.12)`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from ci.matrix.declared import Declared, MatrixError, Row, Stack, Variant
from ci.matrix.sources import TREE, Source, at, releases
from ci.packages import CORE, ROOT, Package, package

__all__ = ["Cell", "cells", "matching", "parse"]

_NAME = re.compile(r"(?P<kind>plugin|notorch)\((?P<words>.*)\)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cell:
    """One combination. For core's own variants `release` and `core` are the same."""

    package: Package
    release: Source
    core: Source
    stack: Stack
    variant: Variant
    name: str
    """What it is called in nox, on the command line and in reports."""
    says: str
    """One line for `nox -l`."""

    @property
    def is_core(self) -> bool:
        return self.package == CORE


def cells(declared: Declared, tree: Path = ROOT) -> list[Cell]:
    """Releases with each other; then the tree with each other variant, Python, torch and transformers, one at a time."""
    cores = [*_supported(declared.row(CORE), tree), TREE]
    return [cell for row in declared.rows for cell in _of_row(declared, row, cores, tree)]


def _of_row(declared: Declared, row: Row, cores: Iterable[Source], tree: Path) -> Iterator[Cell]:
    main = declared.main
    if row.package == CORE:
        pythons = (replace(main, python=python) for python in declared.pythons[1:])
        yield from (_cell(declared, row, TREE, TREE, stack, row.variants[0]) for stack in pythons)
        return
    for release in [TREE, *_supported(row, tree)]:
        for core in cores:
            yield _cell(declared, row, release, core, main, row.variants[0])
    for variant in row.variants[1:]:
        if variant.torch:
            yield _cell(declared, row, TREE, TREE, main, variant)
    for stack in _others(declared):
        yield _cell(declared, row, TREE, TREE, stack, row.variants[0])
    for variant in row.variants:
        for python in declared.pythons if not variant.torch else ():
            yield _cell(declared, row, TREE, TREE, replace(main, python=python), variant)


def _others(declared: Declared) -> Iterator[Stack]:
    """Stacks that differ from the main one in one thing."""
    yield from (replace(declared.main, python=python) for python in declared.pythons[1:])
    yield from (replace(declared.main, torch=torch) for torch in declared.torches[1:])
    yield from (replace(declared.main, transformers=version) for version in declared.transformers[1:])


def _supported(row: Row, tree: Path) -> list[Source]:
    found = releases(row.package, tree)
    return [source for source in found if source.label in set(row.supported.filter(each.label for each in found))]


def _cell(declared: Declared, row: Row, release: Source, core: Source, stack: Stack, variant: Variant) -> Cell:
    return Cell(
        package=row.package,
        release=release,
        core=core,
        stack=stack,
        variant=variant,
        name=_name(declared, row, release, core, stack, variant),
        says=_says(declared, row, release, core, stack, variant),
    )


def _name(declared: Declared, row: Row, release: Source, core: Source, stack: Stack, variant: Variant) -> str:
    main = declared.main
    of_release = row.package.name if release == TREE else f"{row.package.name} {release}"
    words = [f"core={core}", f"py={stack.python}"]
    if variant.torch:
        words += [f"torch={stack.torch}"] if stack.torch != main.torch else []
        words += [f"transformers={stack.transformers}"] if stack.transformers != main.transformers else []
    if row.package == CORE:
        return f"notorch({', '.join(words)})"
    words += [variant.name] if variant != row.variants[0] else []
    return f"plugin({', '.join([of_release, *words])})"


def _says(declared: Declared, row: Row, release: Source, core: Source, stack: Stack, variant: Variant) -> str:
    """What is tested, and what of it is not the tree on the main stack."""
    main = declared.main
    other = [f"release {release}"] if row.package != CORE and release != TREE else []
    other += [f"against core {core}"] if core != TREE else []
    other += [f"on Python {stack.python}"] if stack.python != main.python else []
    other += [f"with torch {stack.torch}"] if stack.torch != main.torch else []
    other += [f"with transformers {stack.transformers}"] if stack.transformers != main.transformers else []
    return f"{row.package.name}{', ' if other else ''}{', '.join(other)}: {variant.says}"


def parse(name: str, declared: Declared, tree: Path = ROOT) -> Cell:
    """The cell that a name means, also one that `cells` does not list: any release, commit and combination will do.

    Raises:
        MatrixError: it means none; the message says what a name looks like.
        UnknownSource: it names a release or a commit that is not here.
    """
    found = _NAME.fullmatch(name.strip())
    if found is None:
        raise MatrixError(
            f"{name!r} is no cell: they look like plugin(ascend, core=tree, py=3.11) and notorch(core=tree, py=3.12)"
        )
    words = [word.strip() for word in found["words"].split(",")]
    first = words.pop(0) if found["kind"] == "plugin" else CORE.name
    row, release = _subject(first, declared, tree)
    axes = dict(word.split("=", 1) for word in words if "=" in word)
    variants = [word for word in words if "=" not in word]
    core = at(CORE, axes.pop("core", TREE.label), tree)
    stack = Stack(
        python=axes.pop("py", declared.main.python),
        torch=axes.pop("torch", declared.main.torch),
        transformers=axes.pop("transformers", declared.main.transformers),
    )
    if axes or len(variants) > 1:
        raise MatrixError(
            f"{name!r}: {', '.join([*axes, *variants[1:]])} is no axis; there are core, py, torch, transformers"
        )
    variant = row.variant(variants[0]) if variants else row.variants[0]
    return _cell(declared, row, core if row.package == CORE else release, core, stack, variant)


def _subject(word: str, declared: Declared, tree: Path) -> tuple[Row, Source]:
    name, _, release = word.partition(" ")
    try:
        row = declared.row(package(name))
    except KeyError as unknown:
        raise MatrixError(unknown.args[0]) from None
    return row, at(row.package, release or TREE.label, tree)


def matching(found: Iterable[Cell], pattern: str) -> list[Cell]:
    """The cells whose name fits a glob; `[` and `]` stand for themselves."""
    return [cell for cell in found if fnmatchcase(cell.name, pattern.replace("[", "[[]"))]
