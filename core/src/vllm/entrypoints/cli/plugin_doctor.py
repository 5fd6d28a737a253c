"""Owns the command `vllm plugin doctor`: the environment, every plugin with what it looked for, and what is wrong.

Exit status 0 where nothing is wrong, 1 otherwise. Versions are metadata: no torch is imported.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.platforms.checkup import Checkup, PluginCheckup

__all__ = ["add_parser", "run"]

_MARKS = {"usable": "ok", "fallback": "ok", "installed": "ok", "broken": "!!", "refused": "!!"}


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm plugin doctor`."""
    what = "examine this environment: versions, variables, and what each plugin looked for and found"
    parser = actions.add_parser("doctor", help=what, description=what[0].upper() + what[1:] + ".")
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Print the examination; returns the exit status."""
    from vllm.platforms.checkup import examine

    checkup = examine()
    print(_as_json(checkup) if args.json else "\n".join(_as_text(checkup)))
    return 1 if checkup.troubles else 0


def _environment() -> dict[str, dict[str, str]]:
    from vllm.entrypoints.cli.collect_env import package_versions, relevant_variables

    python = {"Python": f"{platform.python_version()} at {sys.executable}"}
    return {
        "versions": {**python, **package_versions()},
        "variables": dict(relevant_variables(os.environ)),
    }


def _as_json(checkup: Checkup) -> str:
    from dataclasses import asdict

    return json.dumps({**_environment(), **asdict(checkup), "healthy": not checkup.troubles}, indent=2)


def _as_text(checkup: Checkup) -> Iterator[str]:
    for title, section in _environment().items():
        yield f"{title.capitalize()}:"
        yield from _pairs(section, indent=2) if section else ["  none"]
        yield ""
    yield "Plugins (ok = usable, -- = not here, !! = wrong):"
    for plugin in checkup.plugins:
        yield from _plugin_lines(plugin)
    if not checkup.plugins:
        yield "  none"
    yield ""
    if checkup.report is not None and checkup.report.chosen:
        yield f"Platform that would run here: {checkup.report.chosen}"
    yield from _troubles(checkup.troubles)


def _plugin_lines(plugin: PluginCheckup) -> Iterator[str]:
    row = plugin.row
    core = "an unstated core" if row.core_range is None else f"vllm-core {row.core_range or 'of any version'}"
    yield f"  [{_MARKS.get(row.status, '--')}] {row.name}: {row.distribution} {row.version}, for {core}: {row.status}"
    if row.reason:
        yield f"       {row.reason}"
    if row.remedy:
        yield f"       Remedy: {row.remedy}"
    yield from _pairs(plugin.findings, indent=7)
    yield from (f"       | {line}" for line in (plugin.trace or "").splitlines())


def _troubles(troubles: tuple[str, ...]) -> Iterator[str]:
    if not troubles:
        yield "Nothing is wrong."
        return
    yield "One thing is wrong:" if len(troubles) == 1 else f"{len(troubles)} things are wrong:"
    for number, trouble in enumerate(troubles, 1):
        first, *others = trouble.splitlines()
        yield f"  {number}. {first}"
        yield from (f"     {line}" for line in others)


def _pairs(pairs: Mapping[str, str], *, indent: int) -> Iterator[str]:
    width = max(map(len, pairs), default=0)
    yield from (f"{' ' * indent}{key.ljust(width)}  {value}" for key, value in pairs.items())
