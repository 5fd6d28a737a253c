"""Owns the command `vllm complete`: text continued by a model that a server serves."""

from __future__ import annotations

import argparse
from typing import Any

from vllm.entrypoints.cli.answer_printer import Piece
from vllm.entrypoints.cli.client_options import ClientOptions, TalkingServer, prompts_typed
from vllm.entrypoints.cli.flags import add_command, read_sets

__all__ = ["add_parser", "run"]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm complete`."""
    more = "Prompts are read from the terminal, or line by line from standard input, until its end (Ctrl-D)."
    parser = add_command(subparsers, "complete", "continue text over a server's API", ClientOptions, more=more)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Continue one prompt after the other until the input ends."""
    (options,) = read_sets(args, ClientOptions)
    server = TalkingServer(options)
    return prompts_typed(options, lambda line: server.answer("/completions", options.body(prompt=line), _piece_of))


def _piece_of(choice: Any) -> Piece:
    return Piece(text=choice["text"])
