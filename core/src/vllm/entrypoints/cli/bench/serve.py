"""Owns `vllm bench serve`: load on a running server, and how fast it answers, with vLLM's flag and field names."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from vllm.entrypoints.cli.bench.common import write_json
from vllm.entrypoints.cli.bench.serve_options import ServeBenchOptions
from vllm.entrypoints.cli.flags import add_command, read_sets

if TYPE_CHECKING:
    from vllm.entrypoints.client.load import Load

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm bench serve`."""
    what = "measure a running server under load"
    add_command(subparsers, "serve", what, ServeBenchOptions).set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure once and print what vLLM prints; the exit status is 1 if no request was answered."""
    (options,) = read_sets(args, ServeBenchOptions)
    import asyncio

    from vllm.entrypoints.cli.bench.serve_load import load_server
    from vllm.entrypoints.cli.bench.serve_report import file_name, numbers, print_table

    measured: Load = asyncio.run(load_server(options))
    result = numbers(measured, options)
    print_table(result, options)
    if options.save_result:
        write_json(str(Path(options.result_dir, file_name(result, options))), result, "--result-dir")
    return 0 if result["completed"] else 1
