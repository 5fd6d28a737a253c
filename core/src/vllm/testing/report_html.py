"""Owns the page of a report: one self-contained HTML file, no scripts, readable in a light and in a dark room, and on paper.

Top to bottom: the verdict; what broke; area by area every law with its error against its limit; what the platform declines; timings.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from html import escape

from vllm.testing.report import Declined, Outcome, Report, Status, Verdict
from vllm.testing.report_style import STYLE

__all__ = ["as_html"]

_SIGNS = {Status.PASSED: "✓", Status.FAILED: "✗", Status.EXCUSED: "–", Status.NOT_TESTABLE: "?", Status.ERROR: "!"}
_UNCHECKED = (Status.EXCUSED, Status.NOT_TESTABLE)
_TIMED = 12
"""Bars in the list of the slowest laws."""


def as_html(report: Report) -> str:
    """The whole page."""
    body = [
        _head(report),
        *_broken(report),
        *_areas(report),
        *_declined(report.declined),
        _timings(report),
        _foot(report),
    ]
    title = f"{escape(report.platform)}: conformance"
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )


# -- the verdict


def _head(report: Report) -> str:
    tone = {Verdict.KEPT: "passed", Verdict.BROKEN: "failed", Verdict.UNTESTED: "excused"}[report.verdict]
    dtypes = ", ".join(report.dtypes)
    quick = " · quick run" if report.quick else ""
    return (
        f'<header class="{tone}"><p class="kicker">vLLM platform conformance</p>'
        f"<h1>{escape(report.platform)} <em>{_verdict(report)}</em></h1>"
        f"<p>{escape(report.device)} · {escape(dtypes)}{quick} · {escape(report.started)}</p>"
        f'<ul class="tiles">{"".join(_tiles(report))}</ul>{_strip(report)}</header>'
    )


def _verdict(report: Report) -> str:
    if report.verdict is Verdict.UNTESTED:
        return "was not tested"
    if report.passed:
        unchecked = any(report.count(status) for status in _UNCHECKED)
        return "keeps every law" + (" that could be checked" if unchecked else "")
    laws = len({outcome.law for outcome in report.broken})
    return f"breaks {laws} law{'s'[: laws != 1]}"


def _tiles(report: Report) -> Iterator[str]:
    for status in Status:
        count = report.count(status)
        if count or status is Status.FAILED:
            yield f'<li class="{_tone(status)}"><b>{count}</b>{status.value}</li>'
    yield f"<li><b>{_seconds(report.seconds)}</b>in all</li>"


def _strip(report: Report) -> str:
    """One small square per outcome, area by area: the whole at a glance."""
    rows = "".join(
        f"<dt>{escape(area)}</dt><dd>{''.join(_square(o) for o in report.outcomes if o.area == area)}</dd>"
        for area in dict.fromkeys(outcome.area for outcome in report.outcomes)
    )
    return f'<dl class="strip">{rows}</dl>'


def _square(outcome: Outcome) -> str:
    title = f"{outcome.law} {outcome.dtype or ''}: {outcome.status.value}"
    return f'<i class="{_tone(outcome.status)}" title="{escape(title)}"></i>'


def _broken(report: Report) -> Iterator[str]:
    if not report.broken:
        return
    yield "<section><h2>What broke</h2>"
    for outcome in report.broken:
        yield (
            f'<article class="{outcome.status.value}"><h3>{escape(outcome.law)} <small>{escape(outcome.dtype or "")}</small></h3>'
            f"<p>{escape(outcome.sentence)}</p><pre>{escape(outcome.detail.strip())}</pre></article>"
        )
    yield "</section>"


# -- area by area


def _areas(report: Report) -> Iterator[str]:
    for area in dict.fromkeys(outcome.area for outcome in report.outcomes):
        outcomes = [outcome for outcome in report.outcomes if outcome.area == area]
        yield f"<section><h2>{escape(area)} <small>{_tally(outcomes)}</small></h2>{_table(outcomes, report.dtypes)}</section>"


def _tally(outcomes: Sequence[Outcome]) -> str:
    counts = ((status, sum(o.status is status for o in outcomes)) for status in Status)
    return ", ".join(f"{count} {status.value}" for status, count in counts if count)


def _table(outcomes: Sequence[Outcome], dtypes: Sequence[str]) -> str:
    """Dtypes as columns; a law that holds once for all has one wide cell."""
    columns = [dtype for dtype in dtypes if any(o.dtype == dtype for o in outcomes)]
    head = "".join(f"<th>{escape(dtype)}</th>" for dtype in columns) or "<th></th>"
    rows = "".join(_row(name, outcomes, columns) for name in dict.fromkeys(o.law for o in outcomes))
    return f'<div class="wide"><table><thead><tr><th>law</th>{head}</tr></thead><tbody>{rows}</tbody></table></div>'


def _row(name: str, outcomes: Sequence[Outcome], columns: Sequence[str]) -> str:
    of_dtype = {outcome.dtype: outcome for outcome in outcomes if outcome.law == name}
    sentence = next(iter(of_dtype.values())).sentence
    label = f'<th scope="row">{escape(name.partition(".")[2].replace("_", " "))}<small>{escape(sentence)}</small></th>'
    if None in of_dtype:
        return f"<tr>{label}{_cell(of_dtype[None], span=max(1, len(columns)))}</tr>"
    if len(of_dtype) == len(columns) and all(outcome.status in _UNCHECKED for outcome in of_dtype.values()):
        return f"<tr>{label}{_cell(of_dtype[columns[0]], span=len(columns))}</tr>"
    return f"<tr>{label}{''.join(_cell(of_dtype.get(dtype)) for dtype in columns)}</tr>"


def _cell(outcome: Outcome | None, span: int = 1) -> str:
    if outcome is None:
        return "<td></td>"
    spanned = f' colspan="{span}"' if span > 1 else ""
    sign = f'<span class="sign" title="{outcome.status.value}, {_seconds(outcome.seconds)}">{_SIGNS[outcome.status]}</span>'
    if outcome.status in _UNCHECKED:
        return f'<td class="excused"{spanned}>{sign}<small>{escape(outcome.detail)}</small></td>'
    scope = "" if outcome.dtype else "<small>once for all dtypes</small>"
    left_out = f"<small>{escape(outcome.detail)}</small>" if outcome.status is Status.PASSED and outcome.detail else ""
    return f'<td class="{outcome.status.value}"{spanned}>{sign}{_bar(outcome) or scope}{left_out}</td>'


def _tone(status: Status) -> str:
    """Its class in the style sheet: what was not checked looks alike, whyever."""
    return "excused" if status in _UNCHECKED else status.value


def _bar(outcome: Outcome) -> str:
    """The error that comes closest to its limit; the frame's right edge is the limit."""
    worst = outcome.worst
    if worst is None:
        return ""
    over = worst.share > 1
    width = 100 if not math.isfinite(worst.share) else min(100.0, 100 * worst.share)
    numbers = (
        f"{_number(worst.error)} of {_number(worst.limit)}" if worst.limit else "exact" if not over else "not exact"
    )
    return (
        f'<span class="measured" title="{escape(worst.what)}"><span class="bar{" over" if over else ""}">'
        f'<i style="width:{width:.1f}%"></i></span><small>{numbers}</small></span>'
    )


# -- the rest


def _declined(declined: Iterable[Declined]) -> Iterator[str]:
    rows = "".join(
        f'<dt>{escape(entry.feature.replace("_", " "))} <span class="support">{escape(entry.support)}</span></dt>'
        f"<dd>{escape(entry.why) or 'The platform does not say.'}</dd>"
        for entry in declined
    )
    if rows:
        yield f"<section><h2>What the platform declines, or does in part</h2><dl>{rows}</dl></section>"


def _timings(report: Report) -> str:
    slowest = sorted(report.outcomes, key=lambda outcome: -outcome.seconds)[:_TIMED]
    longest = max((outcome.seconds for outcome in slowest), default=0.0) or 1.0
    rows = "".join(
        f"<li><span>{escape(o.law)} <small>{escape(o.dtype or '')}</small></span>"
        f'<span class="time"><i style="width:{100 * o.seconds / longest:.1f}%"></i></span><b>{_seconds(o.seconds)}</b></li>'
        for o in slowest
    )
    return f'<section><h2>Where the time went <small>the {len(slowest)} slowest</small></h2><ol class="timings">{rows}</ol></section>'


def _foot(report: Report) -> str:
    versions = " · ".join(f"{escape(name)} {escape(version)}" for name, version in report.versions.items())
    return (
        f"<footer><p>{escape(report.platform_path)} · {versions}</p>"
        "<p>A bar is the error that came closest to its limit, which is the right edge of its frame. "
        "Rest the pointer on it to see which comparison it was. Laws are excused only by a capability that the platform declines "
        "with a reason; ? marks what this machine lacks devices for.</p></footer>"
    )


def _number(value: float) -> str:
    return "∞" if math.isinf(value) else "no number" if math.isnan(value) else f"{value:.2g}".replace("e-0", "e-")


def _seconds(value: float) -> str:
    return f"{value:.0f} s" if value >= 20 else f"{value:.1f} s" if value >= 1 else f"{1000 * value:.0f} ms"
