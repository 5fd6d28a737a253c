"""The commands behind `nox -s matrix`, `nox -s affected`, `nox -s bisect` and each cell's own session."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

from ci import recipes
from ci.matrix import bisect
from ci.matrix.affected import Affected, affected, as_json, tell
from ci.matrix.cells import Cell, cells, matching, parse
from ci.matrix.changes import changed_files, import_graph, uses_of_broken
from ci.matrix.declared import MatrixError, load
from ci.matrix.page import page
from ci.matrix.results import LATEST, PAGE, REPORT, Result, exit_status, write_results
from ci.matrix.running import Site, run_cell, run_cell_once
from ci.matrix.sources import HERE, Source, UnknownSource, at
from ci.matrix.table import Table, duration
from ci.packages import CORE, ROOT
from ci.processes import heed_termination
from ci.versions import State, git, state, state_since

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """The command; 1 where a cell fails, 2 for a question that makes no sense, 3 where cells were to run and nothing was proven."""
    options = _parser().parse_args(arguments)
    heed_termination()
    try:
        return int(options.run(options))
    except (MatrixError, UnknownSource) as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m ci.matrix", description="The matrix of ci/matrix.toml.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    running = commands.add_parser(
        "run", prog="nox -s matrix --", help=f"run cells: a table here, {REPORT} and {PAGE} in a folder"
    )
    running.add_argument("--report", type=Path, default=LATEST, metavar="DIR", help="default: %(default)s")
    running.add_argument(
        "--cells", action="append", metavar="GLOB", help="only these, or any one cell by its full name"
    )
    running.add_argument("--law", action="append", default=[], help="of the conformance kit only this law or area")
    running.add_argument("--affected", metavar="BASE", help="only cells that the changes since BASE can affect")
    running.set_defaults(run=_run)
    asking = commands.add_parser(
        "affected", prog="nox -s affected --", help="the sessions and cells that the changes since BASE can affect"
    )
    asking.add_argument("base", metavar="BASE", help="a tag, branch or commit")
    asking.add_argument(
        "--json", action="store_true", help="for programs: sessions, cells, and the plugins closest to it"
    )
    asking.set_defaults(run=_affected)
    halving = commands.add_parser("bisect", prog="nox -s bisect --", help="the first commit that breaks a cell")
    halving.add_argument("cell", metavar="CELL", help="its full name, e.g. 'plugin(spyre, core=tree, py=3.11)'")
    halving.add_argument("good", metavar="GOOD", help="a release of core or a commit where it passes")
    halving.add_argument("bad", metavar="BAD", help="one where it fails")
    halving.add_argument("--law", action="append", default=[], help="of the conformance kit only this law or area")
    halving.set_defaults(run=_bisect)
    return parser


def _affected(options: argparse.Namespace) -> int:
    every = cells(load())
    found = _reached(options.base)
    lines = [as_json(found)] if options.json else tell(found, options.base, len(every))
    print(*lines, sep="\n")
    return 0


def _reached(base: str) -> Affected:
    declared = load()
    files = changed_files(base)
    return affected(files, declared, cells(declared), import_graph(), uses_of_broken(base))


def _bisect(options: argparse.Namespace) -> int:
    cell = parse(options.cell, load())
    good, bad = (_commit(at(CORE, name)) for name in (options.good, options.bad))
    commits = bisect.candidates(ROOT, good, bad, bisect.moving(cell))
    site = _site(HERE.cache / "bisect", options.law)
    print(f"{cell.name}: {len(commits)} commits touch {', '.join(entry.folder for entry in bisect.moving(cell))}")

    def ask(commit: str) -> bisect.Verdict:
        result = run_cell_once(bisect.at_commit(cell, commit), site)
        answer = bisect.verdict(result)
        note = result.first_broken or result.why
        print(f"  {commit[:10]} {answer.value.ljust(16)} {duration(result.seconds):>7}  {note}", flush=True)
        return answer

    for commit, wanted in ((good, bisect.Verdict.GOOD), (commits[-1], bisect.Verdict.BAD)):
        if (answer := ask(commit)) is not wanted:
            raise MatrixError(f"{commit[:10]} should be {wanted.value}, but it is {answer.value}: see {site.logs}")
    print(*bisect.tell(bisect.search(commits, ask), ROOT), sep="\n")
    return 0


def _commit(source: Source) -> str:
    return source.commit or git(ROOT, "rev-parse", "HEAD")


def _site(report: Path, laws: Sequence[str]) -> Site:
    return Site(declared=load(), store=HERE, tools=recipes.tools(), logs=report / "logs", laws=tuple(laws))


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
    began = state(ROOT)
    chosen = _chosen(options.cells)
    if options.affected:
        reached = {cell.name for cell in _reached(options.affected).cells}
        chosen = [cell for cell in chosen if cell.name in reached]
        if not chosen:  # a question that is answered: nothing is left to prove
            _write([], 0, began, options)
            print(f"no cell is affected by what changed since {options.affected}")
            return 0
    return _run_these(chosen, began, options)


def _run_these(chosen: Sequence[Cell], began: State, options: argparse.Namespace) -> int:
    report: Path = options.report
    site = _site(report, options.law)
    table = Table(sys.stdout, max((len(cell.name) for cell in chosen), default=0))
    results: list[Result] = []
    _write(results, len(chosen), began, options)
    for cell in chosen:
        table.start(cell.name)
        results.append(run_cell(cell, site))
        table.finish(results[-1])
        _write(results, len(chosen), began, options)
    table.close(results)
    print(f"wrote {report / REPORT} and {report / PAGE}")
    return exit_status(results)


def _write(results: Sequence[Result], wanted: int, began: State, options: argparse.Namespace) -> None:
    """At first, so that an older report does not stand for this run, and after every cell; it says how many were wanted."""
    report: Path = options.report
    report.mkdir(parents=True, exist_ok=True)
    tested = state_since(began, ROOT)
    about = {
        "commit": tested.commit,
        "changed": tested.is_changed,
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "asked": {"cells": options.cells, "laws": options.law, "affected": options.affected},
        "wanted": wanted,
    }
    write_results(results, about, report / REPORT)
    (report / PAGE).write_text(page(results, about), encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except subprocess.CalledProcessError as failed:
        sys.exit(f"{failed}\n{failed.stderr or ''}")
