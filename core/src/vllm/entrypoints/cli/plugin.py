"""Owns the command `vllm plugin`, and its action `list`: what is installed, whether it is usable here, or why not."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from vllm.entrypoints.cli import plugin_doctor, plugin_new, plugin_test

if TYPE_CHECKING:
    from vllm.platforms.listing import PluginReport, PluginRow

__all__ = ["add_parser", "run"]

_COLUMNS = ("NAME", "DISTRIBUTION", "VERSION", "CORE RANGE", "STATUS")


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm plugin` with its actions; what an action needs is imported when it runs."""
    what = "list, examine, write or test plugins"
    parser = subparsers.add_parser("plugin", help=what, description=what[0].upper() + what[1:] + ".")
    actions = parser.add_subparsers(dest="plugin_command", metavar="ACTION", required=True)
    what = "list the installed plugins: version, core range, usable here or why not"
    listing = actions.add_parser("list", help=what, description=what[0].upper() + what[1:] + ".")
    listing.add_argument("--json", action="store_true", help="print JSON, for programs")
    listing.set_defaults(run=run)
    plugin_doctor.add_parser(actions)
    plugin_new.add_parser(actions)
    plugin_test.add_parser(actions)


def run(args: argparse.Namespace) -> int:
    """Print the list; returns the exit status."""
    from vllm.platforms.listing import report_plugins

    report = report_plugins()
    print(_as_json(report) if args.json else "\n".join(_as_text(report)))
    if not args.json:
        for package in report.upstream_packages:
            print(f"\nWARNING: {package}", file=sys.stderr)
    return 0


def _as_json(report: PluginReport) -> str:
    from dataclasses import asdict

    return json.dumps(asdict(report), indent=2)


def _as_text(report: PluginReport) -> Iterator[str]:
    yield f"vllm-core {report.core_version or '(not installed: no version)'}"
    for group in dict.fromkeys(row.group for row in report.rows):
        yield ""
        yield f"{group}:"
        yield from _table([row for row in report.rows if row.group == group])
    yield ""
    yield f"Platform that would run here: {report.chosen}" if report.chosen else f"{report.problem}"


def _table(rows: Sequence[PluginRow]) -> Iterator[str]:
    """One aligned line per plugin; below it, indented, the reason where there is one."""
    cells = [_COLUMNS, *((row.name, row.distribution, row.version, _range(row), row.status) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "  " + "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    ]
    yield lines[0]
    for line, row in zip(lines[1:], rows, strict=True):
        yield line
        if row.reason:
            yield f"      {row.reason}"
        if row.remedy:
            yield f"      Remedy: {row.remedy}"


def _range(row: PluginRow) -> str:
    return "(none declared)" if row.core_range is None else row.core_range or "any"
