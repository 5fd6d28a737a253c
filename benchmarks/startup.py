"""How long until something happens: importing, help, and from start to the first token of the embedded model.

    python benchmarks/startup.py [--repeats 5] [--json FILE]

Each number is the median of fresh processes with warm file caches. Marks: import 0.15 s, help 0.4 s, first token 4 s, 1 GB resident.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

MARKS = {"import_s": 0.15, "help_s": 0.4, "first_token_s": 4.0, "peak_rss_mib": 1024.0}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", help="file for the result")
    args = parser.parse_args()
    result = measure(args.repeats)
    for name, value in result.items():
        mark = f"(mark: {MARKS[name]})" if name in MARKS else ""
        print(f"{name:>16} {value:10.3f}  {mark}")
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=2), encoding="utf-8")


def measure(repeats: int) -> dict[str, float]:
    """Medians, in seconds and MiB."""
    bare_s = _median([sys.executable, "-c", "pass"], repeats)
    starts = [_first_token() for _ in range(repeats)]
    return {
        "python_s": bare_s,
        "import_s": _median([sys.executable, "-c", "import vllm"], repeats) - bare_s,
        "help_s": _median([sys.executable, "-m", "vllm.entrypoints.cli.main", "--help"], repeats),
        "generate_help_s": _median([sys.executable, "-m", "vllm.entrypoints.cli.main", "generate", "--help"], repeats),
        "first_token_s": statistics.median(start["first_token_s"] for start in starts),
        "engine_s": statistics.median(start["engine_s"] for start in starts),
        "peak_rss_mib": max(start["peak_rss_bytes"] for start in starts) / 2**20,
    }


def _median(command: list[str], repeats: int) -> float:
    """Wall time of a command; one run before warms the caches."""
    return statistics.median([_wall_s(command) for _ in range(repeats + 1)][1:])


def _wall_s(command: list[str]) -> float:
    start_s = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start_s


def _first_token() -> dict[str, float]:
    """One start as `vllm bench startup` measures it."""
    command = [sys.executable, "-m", "vllm.entrypoints.cli.bench.start_once", "{}", repr(time.monotonic())]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    times: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return times


if __name__ == "__main__":
    main()
