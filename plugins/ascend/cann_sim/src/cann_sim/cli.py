"""Owns the command `cann-sim`: what its words mean. What they do lives in the modules of their names."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Sequence

from cann_sim.activation import environment
from cann_sim.build import build
from cann_sim.doctor import report
from cann_sim.errors import CannSimError
from cann_sim.settings import SETTINGS

__all__ = ["main"]

_NOT_FOUND = 127  # what a shell gives for a command that is not there


def _build(options: argparse.Namespace) -> int:
    started_s = time.monotonic()
    toolkit = build(force=options.force, say=lambda line: print(line, flush=True))
    print(f"{toolkit.path} ({time.monotonic() - started_s:.1f} s)")
    return 0


def _doctor(options: argparse.Namespace) -> int:
    lines, usable = report(listing=options.operators)
    print("\n".join(lines))
    return 0 if usable else 1


def _run(options: argparse.Namespace) -> int:
    """Becomes the command: exit status and signals are its own, and no process of ours stays."""
    program = shutil.which(options.command[0])
    if program is None:
        print(f"cann-sim: there is no command {options.command[0]!r} on PATH", file=sys.stderr)
        return _NOT_FOUND
    given = {setting.name: getattr(options, setting.name) for setting in SETTINGS}
    variables = os.environ | environment(os.environ, given)
    sys.stdout.flush()
    os.execve(program, options.command, variables)
    raise AssertionError("execve came back")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cann-sim", description="The real torch_npu on a simulated CANN.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    building = commands.add_parser("build", help="compile the simulator against the installed torch and torch_npu")
    building.add_argument("--force", action="store_true", help="compile everything again")
    building.set_defaults(run=_build)
    examining = commands.add_parser("doctor", help="what is built, against which wheels, which operators")
    examining.add_argument("--operators", action="store_true", help="name every function that is simulated")
    examining.set_defaults(run=_doctor)
    _add_run(commands.add_parser("run", help="run a command and its children on the simulator"))
    return parser


def _add_run(running: argparse.ArgumentParser) -> None:
    running.usage = "cann-sim run [options] -- CMD ..."
    for setting in SETTINGS:
        default = f"; default {setting.default}" if setting.default else ""
        meaning = f"{setting.meaning}{default} [{setting.variable}]"
        running.add_argument(setting.option, dest=setting.name, metavar=setting.metavar, help=meaning)
    running.set_defaults(run=_run)


def _parsed(words: list[str]) -> argparse.Namespace:
    """Our options stand before the first `--`, the command to run behind it."""
    place = words.index("--") if "--" in words else len(words)
    parser, command = _parser(), words[place + 1 :]
    options = parser.parse_args(words[:place])
    if (options.run is _run) != bool(command):
        parser.error("a command follows `--`, with `run` only: cann-sim run [options] -- CMD ...")
    options.command = command
    return options


def main(words: Sequence[str] | None = None) -> int:
    """The command; gives its exit status."""
    options = _parsed(list(sys.argv[1:] if words is None else words))
    try:
        return int(options.run(options))
    except CannSimError as error:
        print(f"cann-sim: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
