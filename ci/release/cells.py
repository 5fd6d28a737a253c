"""Owns whether the matrix is green for a release: a report of this very commit, in which no cell of the package fails."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from ci.matrix.cells import Cell, cells, parse
from ci.matrix.declared import load
from ci.matrix.results import REPORT, Result, Status, read_results
from ci.matrix.sources import TREE
from ci.packages import CORE, Package
from ci.release.refusal import Refused
from ci.versions import git

__all__ = ["check_cells", "concerning"]


def check_cells(entry: Package, tree: Path, report: Path, *, skip: bool) -> str:
    """One sentence about the cells of this commit that the package stands in.

    Raises:
        Refused: the report is of another commit or of a changed tree, says nothing about the package, or a cell is not green.
    """
    if skip:
        return "NOT ASKED (--skip-cells): whether the matrix is green for this commit is unknown. No release can be made so"
    _check_report(report / REPORT, tree)
    results = concerning(entry, read_results(report / REPORT), tree)
    _check_whole(entry, results, tree)
    wrong = [f"{each.cell}: {each.status.value} {each.why}".strip() for each in results if each.status in _RED]
    if wrong:
        raise Refused(
            "cells of the matrix are not green:\n    " + "\n    ".join(wrong), remedy="mend them, or what they test"
        )
    passed = [each for each in results if each.status is Status.PASSED]
    if not passed:
        raise Refused(
            f"no cell of {entry.name} passed in {report}: that is no proof", remedy="run the matrix where they can run"
        )
    unknown = [each.cell for each in results if each.status is Status.NOT_RUNNABLE]
    return f"{len(passed)} green; not runnable where the report was made: {', '.join(unknown) or 'none'}"


_RED = frozenset({Status.FAILED, Status.UNBUILT})


def _check_report(file: Path, tree: Path) -> None:
    if not file.is_file():
        raise Refused(
            f"nobody says whether the matrix is green for this commit: there is no {file}",
            remedy="run `nox -s matrix`, or hand in the report of another machine with --matrix-report DIR",
        )
    about = json.loads(file.read_text(encoding="utf-8"))
    head = git(tree, "rev-parse", "HEAD")
    if about["commit"] != head or about["changed"]:
        state = " with uncommitted changes" if about["changed"] else ""
        raise Refused(
            f"{file} is of commit {about['commit']}{state}, not of {head}",
            remedy="run the matrix on this commit, clean",
        )
    if about["asked"]["laws"]:
        laws = ", ".join(about["asked"]["laws"])
        raise Refused(f"{file} is of a part of the kit only ({laws})", remedy="run the matrix without --law")


def _check_whole(entry: Package, results: Sequence[Result], tree: Path) -> None:
    there = {each.cell for each in results}
    absent = [cell.name for cell in cells(load(), tree) if _concerns(entry, cell) and cell.name not in there]
    if absent:
        raise Refused(f"the report lacks cells: {', '.join(absent)}", remedy="run them too: `nox -s matrix` runs all")


def _concerns(entry: Package, cell: Cell) -> bool:
    """The tree's state of the package takes part: core's in all on the core of the tree, cann_sim's in those beside it."""
    if entry == CORE:
        return cell.core == TREE
    return entry in cell.variant.beside or (cell.package == entry and cell.release == TREE)


def concerning(entry: Package, results: Sequence[Result], tree: Path) -> list[Result]:
    """The rows of cells in which the tree's state of the package takes part, whether the matrix lists them or not."""
    declared = load()
    listed = {cell.name: cell for cell in cells(declared, tree)}
    return [each for each in results if _concerns(entry, listed.get(each.cell) or parse(each.cell, declared, tree))]
