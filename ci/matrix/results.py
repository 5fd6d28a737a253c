"""What became of cells: statuses, the laws that broke, and the whole as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from ci.matrix.cells import Cell
from ci.matrix.sources import HERE

__all__ = [
    "LATEST",
    "PAGE",
    "REPORT",
    "UNPROVEN",
    "Broken",
    "Outcome",
    "Result",
    "Status",
    "exit_status",
    "read_results",
    "result",
    "tally",
    "write_results",
]

REPORT, PAGE = "matrix.json", "matrix.html"
"""Of a report's folder: what programs read, and what people do."""

LATEST = HERE.cache / "report"
"""Where `nox -s matrix` leaves its report unless told otherwise."""

UNPROVEN = 3
"""The exit status of a run in which no cell passed, was excused, or failed."""


class Status(str, Enum):
    """How a cell ended."""

    PASSED = "pass"
    FAILED = "fail"
    EXCUSED = "excused"
    """The plugin's release does not claim this core, and discovery refused the pair with that sentence."""
    NOT_RUNNABLE = "not runnable"
    """This machine lacks something: nobody knows whether it would pass."""
    UNBUILT = "not built"
    """The code of that release or commit cannot be built or installed: no verdict about its behaviour, and no pass."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Broken:
    """A law of the kit, or a test, that failed."""

    law: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What running found. `counts`: how many laws or tests ended how, e.g. `{"passed": 71, "excused": 3}`."""

    status: Status
    why: str = ""
    broken: tuple[Broken, ...] = ()
    counts: Mapping[str, int] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """One row of the report."""

    cell: str
    package: str
    release: str
    core: str
    python: str
    torch: str | None
    transformers: str | None
    variant: str
    status: Status
    why: str
    broken: tuple[Broken, ...]
    counts: Mapping[str, int]
    seconds: float
    versions: Mapping[str, str]
    """Distribution -> version of the wheels that were installed."""
    log: str
    """File name beside the report; empty where nothing was run."""
    prepared_s: float = 0.0
    """Of these seconds, what building the wheels and making the environment took."""

    @property
    def first_broken(self) -> str:
        return self.broken[0].law if self.broken else ""


def result(
    cell: Cell,
    outcome: Outcome,
    *,
    seconds: float,
    versions: Mapping[str, str],
    log: str,
    prepared_s: float = 0.0,
) -> Result:
    """The row of a cell."""
    torch = cell.variant.torch
    return Result(
        cell=cell.name,
        package=cell.package.name,
        release=cell.release.label,
        core=cell.core.label,
        python=cell.stack.python,
        torch=cell.stack.torch if torch else None,
        transformers=cell.stack.transformers if torch else None,
        variant=cell.variant.name,
        status=outcome.status,
        why=outcome.why,
        broken=outcome.broken,
        counts=outcome.counts or {},
        seconds=round(seconds, 2),
        versions=versions,
        log=log,
        prepared_s=round(prepared_s, 2),
    )


def tally(results: Sequence[Result]) -> dict[Status, int]:
    """How many ended how; statuses that nobody has are left out."""
    counts = {status: sum(each.status is status for each in results) for status in Status}
    return {status: count for status, count in counts.items() if count}


def exit_status(results: Sequence[Result]) -> int:
    """0 where something was proven and nothing failed, 1 where something failed or was not built, `UNPROVEN` where neither.

    A pass proves that a pair works. An excuse proves something too, that a pair which is not claimed is refused: discovery was
    run and said so. What this machine cannot run proves nothing.
    """
    counts = tally(results)
    if Status.FAILED in counts or Status.UNBUILT in counts:
        return 1
    return 0 if Status.PASSED in counts or Status.EXCUSED in counts else UNPROVEN


def write_results(results: Sequence[Result], about: Mapping[str, Any], file: Path) -> None:
    """The report as JSON; `about` tells of the run as a whole."""
    content = {**about, "tally": {status.value: count for status, count in tally(results).items()}}
    content["cells"] = [asdict(each) for each in results]
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def read_results(file: Path) -> list[Result]:
    """The rows of a written report."""
    rows = json.loads(file.read_text(encoding="utf-8"))["cells"]
    return [
        Result(**row | {"status": Status(row["status"]), "broken": tuple(Broken(**each) for each in row["broken"])})
        for row in rows
    ]
