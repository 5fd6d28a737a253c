"""Owns the command `cann-sim`: what its words mean. What they do lives in the modules of their names."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from cann_sim.build import build
from cann_sim.errors import CannSimError

__all__ = ["main"]


def _build(options: argparse.Namespace) -> int:
    started_s = time.monotonic()
    toolkit = build(force=options.force, say=lambda line: print(line, flush=True))
    print(f"{toolkit.path} ({time.monotonic() - started_s:.1f} s)")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cann-sim", description="The real torch_npu on a simulated CANN.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    build_ = commands.add_parser("build", help="compile the simulator against the installed torch and torch_npu")
    build_.add_argument("--force", action="store_true", help="compile everything again")
    build_.set_defaults(run=_build)
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """The command; gives its exit status."""
    options = _parser().parse_args(words)
    try:
        return int(options.run(options))
    except CannSimError as error:
        print(f"cann-sim: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
