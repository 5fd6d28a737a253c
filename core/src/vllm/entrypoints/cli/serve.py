"""Owns the command `vllm serve`: the HTTP server, from the command line."""

from __future__ import annotations

import argparse

from vllm.config.engine_args import EngineArgs
from vllm.entrypoints.cli.errors import UsageError
from vllm.entrypoints.cli.flags import add_command, read_sets
from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm serve`."""
    parser = add_command(
        subparsers,
        "serve",
        "serve a model over HTTP, as OpenAI's API",
        ServerArgs,
        EngineArgs,
        positional="MODEL",
        more="Without MODEL the tiny one inside this package is served. SIGTERM ends the server in order.",
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Serve until told to stop; the exit status is 1 if the engine died."""
    server_args, engine_args = read_sets(args, ServerArgs, EngineArgs)
    engine_args.model = _model(args.positional, engine_args.model)
    from vllm.entrypoints.openai.launch import serve

    return serve(engine_args, server_args)


def _model(words: list[str], by_flag: str | None) -> str | None:
    """MODEL, or --model; both only where they agree."""
    named = list(dict.fromkeys([*words, *([by_flag] if by_flag is not None else [])]))
    if len(named) > 1:
        raise UsageError(f"One server serves one model, but {' and '.join(named)} are given.")
    return named[0] if named else None
