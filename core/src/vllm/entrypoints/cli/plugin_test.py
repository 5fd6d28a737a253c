"""Owns the command `vllm plugin test`: the conformance kit on an installed plugin, as a table that grows while it runs.

The only module of the product that imports `vllm.testing`, and only when the command runs.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from vllm.entrypoints.cli.errors import as_usage_errors

__all__ = ["add_parser", "run"]


def add_parser(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm plugin test`."""
    what = "run the conformance kit on a plugin: every law that a platform must keep"
    statuses = "Exit status: 0 all laws that could be checked hold, 1 one is broken, 2 usage, 3 none could be checked."
    parser = actions.add_parser("test", help=what, description=what[0].upper() + what[1:] + ".", epilog=statuses)
    parser.add_argument("name", metavar="NAME", help="the plugin's name, or the dotted path of a Platform class")
    parser.add_argument(
        "--quick", action="store_true", help="one dtype, and only laws that need no processes and few seconds"
    )
    parser.add_argument(
        "--dtype", action="append", metavar="DTYPE", help="a dtype to test (may be repeated); default: all it supports"
    )
    parser.add_argument(
        "--law", action="append", metavar="LAW", help="an area, a law or a pattern, e.g. attention (may be repeated)"
    )
    parser.add_argument("--report", type=Path, metavar="DIR", help="write report.json and report.html into this folder")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check the laws; 0 if all that could be checked hold, 1 if one is broken, 3 if none could be checked: that proves nothing.

    Raises:
        NoPlatformError: no such plugin, or it is not usable here.
        ConfigError: no such law or dtype.
        UsageError: no report can be written there.
    """
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # the table is the log; before any logger is made
    from vllm.platforms.torch_import import prepare_torch_import

    prepare_torch_import()  # the kit imports torch before the platform is resolved
    from vllm.testing.report import Verdict, write_report
    from vllm.testing.runner import run_laws
    from vllm.testing.target import find_platform
    from vllm.testing.terminal import LiveTable

    path = find_platform(args.name)
    if args.report is not None:
        with as_usage_errors():  # now, not after minutes of work
            args.report.mkdir(parents=True, exist_ok=True)
    table = LiveTable(sys.stdout)
    report = run_laws(
        path,
        dtypes=args.dtype,
        laws=args.law or (),
        quick=args.quick,
        on_start=table.start,
        on_outcome=table.finish,
    )
    table.close(report)
    if args.report is not None:
        for file in write_report(report, args.report):
            print(f"wrote {file}")
    return {Verdict.KEPT: 0, Verdict.BROKEN: 1, Verdict.UNTESTED: 3}[report.verdict]
