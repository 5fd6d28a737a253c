"""Owns what a run of the kit found: outcomes with measured errors, what the platform declines, and their form as JSON. No torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

__all__ = ["Declined", "Measurement", "Outcome", "Report", "Status", "Verdict", "write_report"]


class Status(str, Enum):
    """How a law ended."""

    PASSED = "passed"
    FAILED = "failed"
    EXCUSED = "excused"
    """The platform declines a feature that the law needs, with a reason."""
    NOT_TESTABLE = "not testable"
    """This machine lacks what the law needs, such as a second device."""
    ERROR = "error"
    """Something raised that is no verdict: the law could not be checked."""


class Verdict(str, Enum):
    """What a whole run says."""

    KEPT = "kept"
    """Every law held or was not checked, and at least one held."""
    BROKEN = "broken"
    UNTESTED = "untested"
    """No law could be checked, which is no proof of anything."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measurement:
    """One comparison."""

    what: str
    error: float
    limit: float

    @property
    def share(self) -> float:
        """Error as a share of the limit; above 1 = broken. What is no number is past every limit."""
        if math.isnan(self.error):
            return math.inf
        if self.limit:
            return self.error / self.limit
        return 0.0 if self.error == 0 else math.inf


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """One law on one dtype (None: a law that holds once for all)."""

    law: str
    """Full name: area.name."""
    area: str
    sentence: str
    dtype: str | None
    status: Status
    detail: str = ""
    """Why: the broken expectation, the excuse, or the traceback. Where it passed: what it left out, or nothing."""
    measurements: tuple[Measurement, ...] = ()
    seconds: float = 0.0

    @property
    def worst(self) -> Measurement | None:
        """The measurement that comes closest to its limit."""
        return max(self.measurements, key=lambda m: m.share, default=None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Declined:
    """A feature that the platform does not do fully; `why` is empty only where it does not say."""

    feature: str
    support: str
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """One run of the kit."""

    platform: str
    platform_path: str
    device: str
    versions: Mapping[str, str]
    """Distribution -> version, of what matters here."""
    started: str
    """ISO 8601, UTC."""
    dtypes: tuple[str, ...]
    quick: bool
    outcomes: tuple[Outcome, ...]
    declined: tuple[Declined, ...]
    seconds: float

    @property
    def verdict(self) -> Verdict:
        """One broken law decides; excuses alone prove nothing."""
        if self.broken:
            return Verdict.BROKEN
        return Verdict.KEPT if self.count(Status.PASSED) else Verdict.UNTESTED

    @property
    def passed(self) -> bool:
        """Whether the verdict is KEPT."""
        return self.verdict is Verdict.KEPT

    @property
    def broken(self) -> tuple[Outcome, ...]:
        """Outcomes that fail the run."""
        return tuple(o for o in self.outcomes if o.status in (Status.FAILED, Status.ERROR))

    def count(self, status: Status) -> int:
        """Outcomes of one status."""
        return sum(outcome.status is status for outcome in self.outcomes)

    def to_json(self) -> str:
        """Everything, for programs; infinite errors become null."""
        verdict = {"passed": self.passed, "verdict": self.verdict.value}
        return json.dumps({**verdict, **_plain(asdict(self))}, indent=2)


def write_report(report: Report, folder: Path) -> tuple[Path, Path]:
    """Write report.json and report.html, making the folder; gives the two paths."""
    from vllm.testing.report_html import as_html

    folder.mkdir(parents=True, exist_ok=True)
    as_json, page = folder / "report.json", folder / "report.html"
    as_json.write_text(report.to_json() + "\n", encoding="utf-8")
    page.write_text(as_html(report), encoding="utf-8")
    return as_json, page


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
