"""Owns `vllm bench startup`: fresh processes, how long from start to first token, and how much memory they took."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

from vllm.config.engine_args import EngineArgs
from vllm.config.option_kinds import text, whole
from vllm.config.options import option, options_of, read_options
from vllm.entrypoints.cli.bench.common import check_json_path, print_latencies, write_json
from vllm.entrypoints.cli.flags import add_command, read_sets
from vllm.errors import VllmError

__all__ = ["add_parser", "run"]

_MODULE_OF_CHILD = "vllm.entrypoints.cli.bench.start_once"


@dataclass(kw_only=True)
class StartupOptions:
    """Options of this kind."""

    num_iters_warmup: int = option(1, whole(at_least=0), "Starts before measuring.", group="Benchmark", common=True)
    num_iters: int = option(3, whole(at_least=1), "Starts that are measured.", group="Benchmark", common=True)
    output_json: str | None = option(
        None, text(placeholder="FILE"), "Write the result there too.", group="Benchmark", common=True
    )

    def __post_init__(self) -> None:
        read_options(self)
        check_json_path(self.output_json)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm bench startup`."""
    what = "measure the time from start to first token, in fresh processes"
    add_command(subparsers, "startup", what, StartupOptions, EngineArgs).set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Start, measure, print."""
    options, engine_args = read_sets(args, StartupOptions, EngineArgs)
    given = {name: getattr(engine_args, name) for name in options_of(EngineArgs)}
    starts = [_start(given) for _ in range(options.num_iters_warmup + options.num_iters)][options.num_iters_warmup :]
    result = print_latencies("startup time", [start["first_token_s"] for start in starts])
    for key in ("import_s", "engine_s"):
        result[key] = sum(start[key] for start in starts) / len(starts)
    result["peak_rss_bytes"] = max(start["peak_rss_bytes"] for start in starts)
    print(f"Of it importing: {result['import_s']:.3f} seconds, building the engine: {result['engine_s']:.3f} seconds")
    print(f"Peak resident memory: {result['peak_rss_bytes'] / 2**20:.0f} MiB")
    write_json(options.output_json, result)
    return 0


def _start(given: dict[str, Any]) -> dict[str, float]:
    """One process; its own times, and the whole time as seen from here."""
    start_s = time.monotonic()  # one clock for all processes of a machine
    command = [sys.executable, "-m", _MODULE_OF_CHILD, json.dumps(given), repr(start_s)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise VllmError(
            f"The measured process ended with status {done.returncode}.", remedy="its own message stands above"
        )
    times: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return times
