"""The commands behind `nox -s matrix`, `nox -s affected`, `nox -s bisect` and each cell's own session."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from ci import recipes
from ci.matrix.cells import Cell, cells, matching, parse
from ci.matrix.declared import MatrixError, load
from ci.matrix.results import Result, exit_status, write_results
from ci.matrix.running import Site, run_cell
from ci.matrix.sources import HERE, UnknownSource
from ci.matrix.table import Table
from ci.packages import ROOT
from ci.versions import git

__all__ = ["main"]

_REPORT = HERE.cache / "report"
JSON, PAGE = "matrix.json", "matrix.html"


def main(arguments: Sequence[str]) -> int:
    """The command; 1 where a cell fails, 2 for a question that makes no sense, 3 where nothing was proven."""
    options = _parser().parse_args(arguments)
    try:
        return int(options.run(options))
    except (MatrixError, UnknownSource) as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ci.matrix", description="The matrix of ci/matrix.toml.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    running = commands.add_parser("run", help="run cells: a table here, matrix.json and matrix.html in a folder")
    running.add_argument("--report", type=Path, default=_REPORT, metavar="DIR", help="default: %(default)s")
    running.add_argument(
        "--cells", action="append", metavar="GLOB", help="only these, or any one cell by its full name"
    )
    running.add_argument("--law", action="append", default=[], help="of the conformance kit only this law or area")
    running.add_argument("--affected", metavar="BASE", help="only cells that the changes since BASE can affect")
    running.set_defaults(run=_run)
    return parser


def _chosen(patterns: Sequence[str] | None) -> list[Cell]:
    """Cells of the matrix that a pattern fits; a full name may be any other combination.

    Raises:
        MatrixError: a pattern fits nothing.
    """
    declared = load()
    every = cells(declared)
    if not patterns:
        return every
    found: dict[str, Cell] = {}
    for pattern in patterns:
        fitting = matching(every, pattern)
        if not fitting:
            if "*" in pattern or "?" in pattern:
                raise MatrixError(
                    f"no cell fits {pattern!r}; there are, for example, {every[0].name} and {every[-1].name}"
                )
            fitting = [parse(pattern, declared)]
        found |= {cell.name: cell for cell in fitting}
    return list(found.values())


def _run(options: argparse.Namespace) -> int:
    chosen = _chosen(options.cells)
    report: Path = options.report
    site = Site(declared=load(), store=HERE, tools=recipes.tools(), logs=report / "logs", laws=tuple(options.law))
    table = Table(sys.stdout, max((len(cell.name) for cell in chosen), default=0))
    results: list[Result] = []
    for cell in chosen:
        table.start(cell.name)
        results.append(run_cell(cell, site))
        table.finish(results[-1])
        _write(results, len(chosen), options, report)
    table.close(results)
    print(f"wrote {report / JSON} and {report / PAGE}")
    return exit_status(results)


def _write(results: Sequence[Result], wanted: int, options: argparse.Namespace, report: Path) -> None:
    """After every cell, so that a run that was ended leaves what it found; it says how many were wanted."""
    about = {
        "commit": git(ROOT, "rev-parse", "HEAD"),
        "changed": bool(git(ROOT, "status", "--porcelain")),
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "asked": {"cells": options.cells, "laws": options.law},
        "wanted": wanted,
    }
    write_results(results, about, report / JSON)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as failed:
        sys.exit(f"{failed}\n{failed.stderr or ''}")
