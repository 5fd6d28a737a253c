"""Owns the command `vllm run-batch`: a file of requests in OpenAI's batch format, answered offline into another file."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field, fields, make_dataclass
from pathlib import Path

from vllm.config.engine_args import EngineArgs
from vllm.config.option_kinds import text
from vllm.config.options import option, options_of, read_options
from vllm.entrypoints.cli.errors import UsageError, as_usage_errors
from vllm.entrypoints.cli.flags import add_command, read_sets
from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["add_parser", "run"]

_GROUP = "Batch"
_FILE = text("a file", "FILE")
_REMOTE = ("http://", "https://", "s3://")


@dataclass(kw_only=True)
class BatchOptions:
    """What is read and written."""

    input_file: str | None = option(
        None, _FILE, "JSON lines: custom_id, method, url, body.", group=_GROUP, short="-i", common=True
    )
    output_file: str | None = option(
        None, _FILE, "Where the answers go, in the order of the requests.", group=_GROUP, short="-o", common=True
    )

    def __post_init__(self) -> None:
        read_options(self)

    def paths(self) -> tuple[Path, Path]:
        """Both, once they can be used. Raises UsageError."""
        if self.input_file is None or self.output_file is None:
            raise UsageError("A batch needs two files.", remedy="vllm run-batch -i requests.jsonl -o answers.jsonl")
        for name in (self.input_file, self.output_file):
            if name.startswith(_REMOTE):
                raise UsageError(f"{name} is no local file.", remedy="download the requests, upload the answers")
        requests, answers = Path(self.input_file), Path(self.output_file)
        if not requests.is_file() or not os.access(requests, os.R_OK):
            raise UsageError(f"--input-file {requests} is no file that can be read.")
        if answers.is_dir() or not answers.absolute().parent.is_dir():
            raise UsageError(f"--output-file {answers}: there is no such folder, or a folder of this name.")
        if answers.exists() and answers.samefile(requests):
            raise UsageError(f"--output-file {answers} is the file that is read.", remedy="give another one")
        return requests, answers


def _chat_options() -> type:
    """Those options of the server that say how a chat is read and told; there is no address, key or log of requests."""
    known = options_of(ServerArgs)
    kept = [each for each in fields(ServerArgs) if known[each.name].group == "Chat"]
    return make_dataclass(
        "ChatOptions",
        [(each.name, each.type, field(default=each.default, metadata=each.metadata)) for each in kept],
        kw_only=True,
    )


_ChatOptions = _chat_options()


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm run-batch`."""
    what = "answer a file of requests, offline"
    more = "OpenAI's batch format; requests for /v1/completions and /v1/chat/completions. No server is started."
    parser = add_command(subparsers, "run-batch", what, BatchOptions, _ChatOptions, EngineArgs, more=more)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Answer all; the exit status is 1 if a request failed."""
    options, chat_options, engine_args = read_sets(args, BatchOptions, _ChatOptions, EngineArgs)
    with as_usage_errors():
        server_args = ServerArgs(**vars(chat_options))
    requests, answers = options.paths()
    from vllm.entrypoints.openai.batch import run_batch

    counts = run_batch(requests, answers, engine_args, server_args)
    print(f"{counts.answered} requests answered, {counts.failed} failed: {answers}")
    return 1 if counts.failed else 0
