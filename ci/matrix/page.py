"""The matrix as one self-contained HTML page: the verdict, a grid of cores and releases per plugin, and every cell with its reason.

No scripts; readable in a light and in a dark room, and on paper.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from packaging.version import InvalidVersion, Version

from ci.matrix.page_style import STYLE
from ci.matrix.places import slug
from ci.matrix.results import Result, Status, exit_status, tally
from ci.matrix.table import duration

__all__ = ["page"]

_SIGNS = {
    Status.PASSED: "✓",
    Status.FAILED: "✗",
    Status.EXCUSED: "–",
    Status.NOT_RUNNABLE: "?",
    Status.UNBUILT: "!",
}


def page(results: Sequence[Result], about: Mapping[str, Any]) -> str:
    """The whole page; `about` is what the JSON says of the run as a whole."""
    body = [_head(results, about), *_broken(results), *_packages(results), _foot()]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>The matrix</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style></head>\n<body><main>\n" + "\n".join(body) + "\n</main></body></html>\n"
    )


# -- the verdict


def _head(results: Sequence[Result], about: Mapping[str, Any]) -> str:
    counts = tally(results)
    tone = {0: "pass", 1: "fail"}.get(exit_status(results), "")
    state = f"commit {about['commit'][:10]}{' with uncommitted changes' if about['changed'] else ''}"
    tiles = "".join(
        f'<li class="{_tone(status)}"><b>{count}</b>{status.value}</li>' for status, count in counts.items()
    )
    total = f"<li><b>{duration(sum(each.seconds for each in results))}</b>in all</li>"
    return (
        f'<header class="{tone}"><p class="kicker">Core × plugin × Python × torch × transformers</p>'
        f"<h1>{_verdict(results, about)}</h1><p>{escape(state)} · {escape(about['finished'])}</p>"
        f'<ul class="tiles">{tiles}{total}</ul></header>'
    )


def _verdict(results: Sequence[Result], about: Mapping[str, Any]) -> str:
    """One sentence; of a run that was ended, or goes on, it says how far it came."""
    failed = sum(each.status in (Status.FAILED, Status.UNBUILT) for each in results)
    unknown = any(each.status is Status.NOT_RUNNABLE for each in results)
    if failed:
        verdict = f"{failed} of {len(results)} cells fail" if failed > 1 else f"1 of {len(results)} cells fails"
    elif not about["wanted"]:
        verdict = "No cell is affected"
    elif exit_status(results):
        verdict = "Nothing was proven"
    elif not any(each.status is Status.PASSED for each in results):
        verdict = "Only refusals were proven"
    else:
        verdict = "Every cell that could run passes" if unknown else "Every cell passes"
    return verdict if len(results) == about["wanted"] else f"{verdict}, {about['wanted'] - len(results)} are to come"


def _tone(status: Status) -> str:
    return status.value.replace(" ", "-")


def _broken(results: Sequence[Result]) -> Iterator[str]:
    failing = [each for each in results if each.status in (Status.FAILED, Status.UNBUILT)]
    if failing:
        yield f'<section><h2>What fails</h2><ul class="cells">{"".join(map(_cell, failing))}</ul></section>'


# -- package by package


def _packages(results: Sequence[Result]) -> Iterator[str]:
    for package in dict.fromkeys(each.package for each in results):
        own = [each for each in results if each.package == package]
        grid = _grid(own) if package != "core" else ""
        rest = "".join(_cell(each, anchor=True) for each in own)
        yield (
            f"<section><h2>{escape(package)} <small>{_sum(own)}</small></h2>{grid}"
            f'<h3>Every cell</h3><ul class="cells">{rest}</ul></section>'
        )


def _sum(results: Sequence[Result]) -> str:
    return ", ".join(f"{count} {status.value}" for status, count in tally(results).items())


def _grid(results: Sequence[Result]) -> str:
    """Releases of the plugin downwards, cores across; empty where there is only the tree."""
    axes = Counter(map(_axes, results))
    main = [each for each in results if _axes(each) == axes.most_common(1)[0][0]]
    cores, releases = (_ordered(getattr(each, axis) for each in main) for axis in ("core", "release"))
    if len(cores) == len(releases) == 1:
        return ""
    of_pair = {(each.release, each.core): each for each in main}
    head = "".join(f"<th>core {escape(core)}</th>" for core in cores)
    rows = "".join(
        f"<tr><th>{escape(release)}</th>{''.join(_square(of_pair.get((release, core))) for core in cores)}</tr>"
        for release in releases
    )
    return (
        '<h3>Releases of the plugin, against releases of core</h3><div class="wide">'
        f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _axes(each: Result) -> tuple[str | None, ...]:
    """All but core and release: most cells that share these are the pairs of releases."""
    return each.variant, each.python, each.torch, each.transformers


def _ordered(labels: Iterable[str]) -> list[str]:
    """Versions upwards, then the rest, such as the tree."""
    return sorted(set(labels), key=_age)


def _age(label: str) -> tuple[bool, Version, str]:
    try:
        return False, Version(label), label
    except InvalidVersion:
        return True, Version("0"), label


def _square(result: Result | None) -> str:
    if result is None:
        return '<td class="none"></td>'
    note = result.first_broken or duration(result.seconds)
    words = f"{_SIGNS[result.status]} {result.status.value}<small>{escape(note)}</small>"
    where = f'href="#{escape(slug(result.cell))}" title="{escape(result.why)}"'
    return f'<td class="{_tone(result.status)}"><a {where}>{words}</a></td>'


def _cell(result: Result, *, anchor: bool = False) -> str:
    place = f' id="{escape(slug(result.cell))}"' if anchor else ""
    told = "" if result.broken and not anchor else f"<p>{escape(_note(result))}</p>"
    laws = _laws(result) if not anchor else ""
    log = f' · <a href="{escape(result.log)}">log</a>' if result.log else ""
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    made = f"<p><small>{escape(versions)}{log}</small></p>" if versions or log else ""
    return (
        f'<li class="{_tone(result.status)}"{place}><span class="badge">{_SIGNS[result.status]} {result.status.value}</span>'
        f"<div><code>{escape(result.cell)}</code>{told}{laws}{made}</div>{_time(result)}</li>"
    )


def _time(result: Result) -> str:
    """The whole, and what of it went before the first step."""
    before = f"<small>{duration(result.prepared_s)} to install</small>" if result.prepared_s >= 1 else ""
    return f"<time>{duration(result.seconds)}{before}</time>"


def _note(result: Result) -> str:
    counted = ", ".join(f"{count} {name}" for name, count in result.counts.items())
    return " · ".join(text for text in (counted, result.first_broken, result.why.split("\n")[0]) if text)


def _laws(result: Result) -> str:
    return "".join(
        f"<details open><summary><b>{escape(each.law)}</b></summary><pre>{escape(each.why)}</pre></details>"
        for each in result.broken
    )


def _foot() -> str:
    return (
        "<footer><p>Excused: the plugin's release does not claim that core, and discovery refused the pair with that sentence, "
        "which the cell checks. Not runnable: this machine lacks something, and nobody knows whether the cell would pass. "
        "Not built: that commit gives no wheels, or none that can be installed. ci/matrix.toml says which cells there are.</p></footer>"
    )
