"""Which sessions and cells a change can affect, and which plugin stands closest to it.

A change of core can affect everything, since every platform is reached through it; a plugin's change affects what holds
that plugin. Of `ci`, the import graph tells which sessions stand on the module. A file that nobody claims affects all.
"""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import grimp

from ci.matrix.cells import Cell
from ci.matrix.changes import imports_of, module_of
from ci.matrix.declared import Declared, Session
from ci.packages import CORE, PLUGINS, owner

__all__ = ["Affected", "affected", "as_json", "tell"]

_EVERYTHING = ("ci/constraints.txt", "noxfile.py")
"""What every session and every cell is made with; besides the modules below, and what those import."""
_FOUNDATIONS = ("ci.environments", "ci.interpreters", "ci.packages", "ci.recipes")
_MATRIX = "ci.matrix.running"
_CELLS = "ci/matrix.toml"
_WORDS_ONLY = ("*.md", "LICENSE", "*/changelog.d/*")
"""Files of a package that change no behaviour; its wheel, and checks of words, hold them."""
_ABOUT_WORDS = ("ci", "docs", "wheels")


@dataclass(frozen=True, kw_only=True, slots=True)
class Affected:
    """The answer. `closest`: plugin -> how its own code touches what changed in core, where it does."""

    files: tuple[str, ...]
    sessions: Mapping[str, str]
    """Session -> the first file because of which."""
    cells: tuple[Cell, ...]
    closest: Mapping[str, tuple[str, ...]]


def affected(
    files: Sequence[str],
    declared: Declared,
    every: Sequence[Cell],
    graph: grimp.ImportGraph,
    broken: Mapping[str, Sequence[str]],
) -> Affected:
    """What these changed files can affect; `broken`: plugin -> its uses of what the interface lost."""
    sessions: dict[str, str] = {}
    cells: dict[str, Cell] = {}
    for file in files:
        names, reached = _of_file(file, declared, every, graph)
        sessions = dict.fromkeys(names, file) | sessions
        cells |= {cell.name: cell for cell in reached}
    order = [session.name for session in declared.sessions]
    return Affected(
        files=tuple(files),
        sessions={name: sessions[name] for name in order if name in sessions},
        cells=tuple(cell for cell in every if cell.name in cells),
        closest=_closest(files, graph, broken),
    )


def _of_file(
    file: str, declared: Declared, every: Sequence[Cell], graph: grimp.ImportGraph
) -> tuple[list[str], Sequence[Cell]]:
    """Names of sessions, and cells, that one file can affect."""
    above = _above(file, graph)
    if file in _EVERYTHING or above & set(_FOUNDATIONS):
        return [session.name for session in declared.sessions], every
    names = [session.name for session in declared.sessions if _looks_at(session, file, above)]
    entry = owner(file)
    if entry is not None:
        return names, [] if _is_words(file) else [cell for cell in every if _holds(cell, file)]
    if not names:
        return [session.name for session in declared.sessions], every
    return names, every if _MATRIX in above or file == _CELLS else []


def _above(file: str, graph: grimp.ImportGraph) -> set[str]:
    """The file's module and, for one of ci's, every module that imports it, over any number of steps."""
    module = module_of(file)
    if module is None or not file.startswith("ci/") or module not in graph.modules:
        return set()
    return {module, *graph.find_downstream_modules(module)}


def _looks_at(session: Session, file: str, above: set[str]) -> bool:
    entry = owner(file)
    if entry in session.packages and (not _is_words(file) or session.name in _ABOUT_WORDS):
        return True
    return bool(above & set(session.modules)) or any(_fits(file, glob) for glob in session.files)


def _is_words(file: str) -> bool:
    return any(fnmatch.fnmatchcase(file, glob) or fnmatch.fnmatchcase(file, f"*/{glob}") for glob in _WORDS_ONLY)


def _fits(file: str, glob: str) -> bool:
    """`*.md` is a file at the root; only `**` crosses folders."""
    if "**" in glob:
        return fnmatch.fnmatchcase(file, glob.replace("**/", "*").replace("**", "*"))
    return file.count("/") == glob.count("/") and fnmatch.fnmatchcase(file, glob)


def _holds(cell: Cell, file: str) -> bool:
    """Whether the cell installs the package whose file this is, or stands on core."""
    entry = owner(file)
    return entry in (CORE, cell.package, *cell.variant.beside)


def _closest(
    files: Sequence[str], graph: grimp.ImportGraph, broken: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """Uses of what broke say more than imports; a plugin that has neither is left out."""
    modules = [module for file in files if owner(file) == CORE and (module := module_of(file))]
    told = {plugin.name: tuple(broken.get(plugin.name) or imports_of(plugin, modules, graph)) for plugin in PLUGINS}
    return {plugin: lines for plugin, lines in told.items() if lines}


def as_json(found: Affected) -> str:
    """Names of sessions and cells, to be handed to nox; and the rest of the answer."""
    content = {
        "files": found.files,
        "sessions": list(found.sessions),
        "cells": [cell.name for cell in found.cells],
        "closest": found.closest,
    }
    return json.dumps(content, indent=2)


def tell(found: Affected, base: str, every: int) -> Iterator[str]:
    """The lines to print."""
    yield f"{len(found.files)} files differ from where this branch left {base}."
    yield ""
    yield f"Sessions ({len(found.sessions)}):"
    yield from (f"  {name.ljust(24)} {because}" for name, because in found.sessions.items())
    of_all = "all of them" if len(found.cells) == every else f"of {every}"
    yield f"Cells of the matrix ({len(found.cells)}, {of_all}):"
    yield from (f"  {cell.name}" for cell in found.cells)
    yield from _tell_closest(found)
    if found.cells:
        yield ""
        yield f"Run these cells: nox -s matrix -- --affected {base}"


def _tell_closest(found: Affected) -> Iterator[str]:
    if not any(owner(file) == CORE for file in found.files):
        return
    yield "Plugins whose own code touches what changed in core:"
    if not found.closest:
        yield "  none: they reach it through core only"
    for plugin, lines in found.closest.items():
        yield from (f"  {plugin}: {line}" for line in lines)
    others = [entry.name for entry in PLUGINS if entry.name not in found.closest]
    if found.closest and others:
        yield f"  {', '.join(others)}: through core only"
