"""The table on the terminal: a line per cell as it ends, then what broke, and the sum."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TextIO

from ci.matrix.results import UNPROVEN, Result, Status, exit_status, tally

__all__ = ["Table", "duration", "summary"]

_COLOURS = {
    Status.PASSED: "32",
    Status.FAILED: "31;1",
    Status.EXCUSED: "33",
    Status.NOT_RUNNABLE: "33",
    Status.UNBUILT: "31;1",
}

_SHOWN = 5
"""Broken laws of a cell that are told in full; the JSON has all."""


class Table:
    """Colours on a terminal only. `width`: characters of the longest cell's name."""

    def __init__(self, out: TextIO, width: int) -> None:
        self._out, self._width = out, width
        self._is_terminal = out.isatty()

    def start(self, name: str) -> None:
        """A cell begins; shown where the line can be taken back."""
        if self._is_terminal:
            self._out.write(f"\r\033[K… {name}")
            self._out.flush()

    def finish(self, result: Result) -> None:
        """A cell has ended."""
        if self._is_terminal:
            self._out.write("\r\033[K")
        status = result.status.value.ljust(12)
        if self._is_terminal:
            status = f"\033[{_COLOURS[result.status]}m{status}\033[0m"
        self._out.write(f"{result.cell.ljust(self._width)}  {status} {duration(result.seconds):>7}  {_note(result)}\n")
        self._out.flush()

    def close(self, results: Sequence[Result]) -> None:
        """All have ended."""
        for line in summary(results):
            self._out.write(f"{line}\n")
        self._out.flush()


def _note(result: Result) -> str:
    """The failing law, the reason, or what was counted."""
    if result.broken:
        more = f" and {len(result.broken) - 1} more" if len(result.broken) > 1 else ""
        return f"{result.broken[0].law}{more}"
    if result.why:
        return result.why.splitlines()[0]
    return ", ".join(f"{count} {name}" for name, count in result.counts.items())


def summary(results: Sequence[Result]) -> Iterator[str]:
    """What broke, with its reason and log; then how many ended how."""
    for each in results:
        if each.status in (Status.FAILED, Status.UNBUILT):
            yield ""
            yield f"{each.status.value.upper()} {each.cell} ({each.log})"
            for broken in each.broken[:_SHOWN]:
                yield f"  {broken.law}"
                yield from (f"  | {line}" for line in broken.why.splitlines())
            if len(each.broken) > _SHOWN:
                yield f"  and {len(each.broken) - _SHOWN} more"
            yield from (f"  | {line}" for line in each.why.splitlines() if not each.broken)
    yield ""
    counts = ", ".join(f"{count} {status.value}" for status, count in tally(results).items())
    yield f"{len(results)} cells: {counts or 'nothing was run'}, {duration(sum(each.seconds for each in results))}"
    if exit_status(results) == UNPROVEN:
        yield "No cell passed or was refused as it should be: nothing was proven."


def duration(seconds: float) -> str:
    """`0.4 s`, `38 s`, `3:05`."""
    if seconds >= 60:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"
