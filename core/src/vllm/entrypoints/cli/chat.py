"""Owns the command `vllm chat`: a conversation with a model that a server serves."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import Any

from vllm.config.option_kinds import text
from vllm.config.options import option
from vllm.entrypoints.cli.answer_printer import Piece
from vllm.entrypoints.cli.client_options import ClientOptions, TalkingServer, prompts_typed
from vllm.entrypoints.cli.flags import add_command, read_sets

__all__ = ["add_parser", "run"]


@dataclass(kw_only=True)
class ChatOptions(ClientOptions):
    """Options of this command."""

    system_prompt: str | None = option(
        None, text(), "What the model is told before the conversation.", group="Text", common=True
    )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm chat`."""
    more = "Messages are read from the terminal, or line by line from standard input, until its end (Ctrl-D)."
    parser = add_command(subparsers, "chat", "chat with a model over a server's API", ChatOptions, more=more)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Chat until the input ends. The whole conversation is sent each time."""
    (options,) = read_sets(args, ChatOptions)
    server = TalkingServer(options)
    messages: list[dict[str, str]] = []
    if options.system_prompt is not None:
        messages.append({"role": "system", "content": options.system_prompt})

    def answer(line: str) -> None:
        messages.append({"role": "user", "content": line})
        said = server.answer("/chat/completions", options.body(messages=messages), _piece_of)
        messages.append({"role": "assistant", "content": said})

    return prompts_typed(options, answer)


def _piece_of(choice: Any) -> Piece:
    """A message, or what is new of it. Older servers, and others, say `reasoning_content`."""
    message = choice.get("delta") or choice.get("message") or {}
    reasoning = message.get("reasoning") or message.get("reasoning_content")
    return Piece(text=message.get("content") or "", reasoning=reasoning or "")
