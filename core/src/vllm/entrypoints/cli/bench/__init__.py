"""Owns the command `vllm bench`: the engine alone, or a server under load, on random token ids, with vLLM's flag names."""

from __future__ import annotations

import argparse

__all__ = ["add_parser"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm bench KIND`."""
    from vllm.entrypoints.cli.bench import latency, serve, startup, throughput

    what = "measure throughput, latency, start-up, or a server under load"
    parser = subparsers.add_parser("bench", help=what, description=what[0].upper() + what[1:] + ".", allow_abbrev=False)
    kinds = parser.add_subparsers(dest="bench_command", metavar="KIND", required=True)
    for kind in (throughput, latency, serve, startup):
        kind.add_parser(kinds)
