"""The command behind `nox -s release`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ci import recipes
from ci.matrix.results import LATEST
from ci.matrix.sources import HERE
from ci.packages import PACKAGES, ROOT, package
from ci.processes import heed_termination
from ci.release.bump import WORDS
from ci.release.refusal import Refused
from ci.release.story import Order, Shop, release

__all__ = ["main", "read_order"]


def read_order(arguments: Sequence[str]) -> Order:
    """The command line as an order; ends the process where it makes no sense."""
    parser = argparse.ArgumentParser(
        prog="nox -s release --",
        description="Make a release of one package: a dry run, unless told otherwise. Uploads nothing in any case.",
    )
    parser.add_argument("package", choices=[entry.name for entry in PACKAGES])
    parser.add_argument(
        "version", nargs="?", help=f"a version or {', '.join(WORDS)}; default: what the fragments ask for"
    )
    parser.add_argument("--for-real", action="store_true", help="make the release's commits and tag in this repository")
    parser.add_argument(
        "--matrix-report",
        type=Path,
        metavar="DIR",
        default=LATEST,
        help="a report of the matrix, of this very commit; default: what `nox -s matrix` left here",
    )
    parser.add_argument(
        "--skip-cells", action="store_true", help="do not ask whether the matrix is green (dry run only)"
    )
    parser.add_argument("--quick", action="store_true", help="the short conformance kit (dry run only)")
    words = parser.parse_args(arguments)
    if words.for_real and (words.skip_cells or words.quick):
        parser.error("--for-real takes neither --skip-cells nor --quick: a release is tested whole")
    return Order(
        entry=package(words.package),
        wish=words.version,
        for_real=words.for_real,
        quick=words.quick,
        skip_cells=words.skip_cells,
        matrix_report=words.matrix_report,
    )


def main(arguments: Sequence[str]) -> int:
    """Make the release; 1 with the reason where it is refused or fails."""
    order = read_order(arguments)
    work = ROOT / ".nox" / "release" / order.entry.name
    work.mkdir(parents=True, exist_ok=True)
    heed_termination()
    try:
        release(order, Shop(repository=ROOT, store=HERE, tools=recipes.tools(), work=work))
    except Refused as refused:
        print(f"\nNo release of {order.entry.distribution}: {refused}", file=sys.stderr)
        return 1
    except (RuntimeError, subprocess.CalledProcessError) as failed:
        print(f"\nThe release of {order.entry.distribution} fails, nothing was changed here: {failed}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
