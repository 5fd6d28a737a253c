"""Owns the terminal's view of a run: one line per law as it ends, then what broke, what is declined, and the sum."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TextIO

from vllm.testing.report import Outcome, Report, Status, Verdict

if TYPE_CHECKING:
    from vllm.testing.law import Law

__all__ = ["LiveTable"]

_MARKS = {
    Status.PASSED: "ok",
    Status.FAILED: "FAILED",
    Status.EXCUSED: "excused",
    Status.NOT_TESTABLE: "not here",
    Status.ERROR: "ERROR",
}
_COLOURS = {
    Status.PASSED: "32",
    Status.FAILED: "31;1",
    Status.EXCUSED: "33",
    Status.NOT_TESTABLE: "33",
    Status.ERROR: "31;1",
}
_COLOUR_OF = {Verdict.KEPT: Status.PASSED, Verdict.BROKEN: Status.FAILED, Verdict.UNTESTED: Status.NOT_TESTABLE}
_SHORT = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", None: "–"}


class LiveTable:
    """On a terminal the law that runs is shown too; elsewhere only finished lines are written, without colours."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._is_terminal = out.isatty()
        self._area: str | None = None

    def start(self, law: Law, dtype: str | None) -> None:
        """A law begins."""
        if law.area != self._area:
            self._area = law.area
            self._line(f"\n{law.area}")
        if self._is_terminal:
            self._out.write(f"\r\033[K  … {law.name} {_SHORT[dtype]}")
            self._out.flush()

    def finish(self, outcome: Outcome) -> None:
        """A law has ended."""
        if self._is_terminal:
            self._out.write("\r\033[K")
        mark = self._coloured(_MARKS[outcome.status].ljust(8), outcome.status)
        name = outcome.law.partition(".")[2]
        self._line(f"  {mark} {_SHORT[outcome.dtype]:<4} {name:<42} {_error(outcome):>20} {outcome.seconds:>7.2f} s")
        if outcome.detail and outcome.status not in (Status.FAILED, Status.ERROR):  # those are told in the end
            self._line(f"                {outcome.detail}")

    def close(self, report: Report) -> None:
        """All have ended: the summary."""
        for line in _summary(report):
            self._line(line)
        self._line(self._coloured(_verdict(report), _COLOUR_OF[report.verdict]))

    def _line(self, text: str) -> None:
        self._out.write(text + "\n")
        self._out.flush()

    def _coloured(self, text: str, status: Status) -> str:
        return f"\033[{_COLOURS[status]}m{text}\033[0m" if self._is_terminal else text


def _error(outcome: Outcome) -> str:
    worst = outcome.worst
    return "" if worst is None else f"{worst.error:.1e} of {worst.limit:.0e}"


def _summary(report: Report) -> Iterator[str]:
    for outcome in report.broken:
        yield ""
        yield f"{_MARKS[outcome.status]} {outcome.law} {outcome.dtype or ''}"
        yield f"  {outcome.sentence}"
        yield from (f"  | {line}" for line in outcome.detail.splitlines())
    yield ""
    if report.declined:
        yield f"{report.platform} declines, or does in part:"
        yield from (f"  {entry.feature}: {entry.support} ({entry.why})" for entry in report.declined)
        yield ""


def _verdict(report: Report) -> str:
    counts = ", ".join(f"{report.count(status)} {status.value}" for status in Status if report.count(status))
    dtypes = ", ".join(report.dtypes)
    sentence = {
        Verdict.KEPT: f"keeps the laws on {dtypes}",
        Verdict.BROKEN: f"BREAKS the laws on {dtypes}",
        Verdict.UNTESTED: "was NOT TESTED: none of these laws could be checked here",
    }[report.verdict]
    return f"{report.platform} {sentence}: {counts or 'none asked for'}, {report.seconds:.1f} s."
