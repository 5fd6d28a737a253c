"""Owns the command `vllm generate`: text from prompts, offline, printed while it is generated.

Standard output carries prompts and texts (or JSON lines) and nothing else; the log goes to standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from vllm.config.engine_args import EngineArgs
from vllm.config.option_kinds import SWITCH, text
from vllm.config.options import option, read_options
from vllm.entrypoints.cli.errors import UsageError, as_usage_errors
from vllm.entrypoints.cli.flags import add_command, read_sets
from vllm.entrypoints.cli.sampling_options import SamplingOptions
from vllm.errors import InvalidRequestError

if TYPE_CHECKING:
    from vllm.engine.llm_engine import LLMEngine
    from vllm.entrypoints.cli.printers import JsonPrinter, TextPrinter
    from vllm.sampling_params import SamplingParams

__all__ = ["add_parser", "run"]


@dataclass(kw_only=True)
class GenerateOptions:
    """What is read and how it is printed."""

    file: str | None = option(
        None,
        text(placeholder="FILE"),
        "File of prompts, one per line; - is standard input.",
        group="Prompts",
        common=True,
    )
    json: bool = option(
        False, SWITCH, "Print one JSON object per prompt when it is done.", group="Prompts", common=True
    )

    def __post_init__(self) -> None:
        read_options(self)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm generate`."""
    more = "The default is greedy: the same prompt gives the same text. Without a prompt, or for -, standard input is read."
    parser = add_command(
        subparsers,
        "generate",
        "generate text from prompts, offline",
        GenerateOptions,
        SamplingOptions,
        EngineArgs,
        positional="PROMPT",
        more=more,
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Generate and print; the exit status is 1 if a prompt was refused."""
    from vllm.entrypoints.cli.printers import JsonPrinter, TextPrinter
    from vllm.sampling_params import RequestOutputKind

    own, sampling, engine_args = read_sets(args, GenerateOptions, SamplingOptions, EngineArgs)
    prompts = _prompts(args.positional, own.file)
    with as_usage_errors():
        params = sampling.to_params(RequestOutputKind.FINAL_ONLY if own.json else RequestOutputKind.DELTA)
    engine_args.disable_log_stats = True  # the terminal belongs to the text
    printer: JsonPrinter | TextPrinter = (
        JsonPrinter(sys.stdout) if own.json else TextPrinter(sys.stdout, prompts, sampling.n)
    )
    return _generate(engine_args, prompts, params, printer)


def _prompts(words: list[str], file: str | None) -> list[str]:
    """From the command line, where - is standard input, then from the file; without either from standard input, if no terminal."""
    lines = [] if file is None else _lines(file)
    prompts = [prompt for word in words for prompt in (_lines("-") if word == "-" else [word])] + lines
    if not prompts and file is None and not sys.stdin.isatty():
        prompts = _lines("-")
    if prompts:
        return prompts
    raise UsageError("There is no prompt.", remedy='give one: vllm generate "Count: 17 18 19", or --file FILE')


def _lines(file: str) -> list[str]:
    try:
        content = sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--file {file} cannot be read: {error}") from error
    return [line for line in content.splitlines() if line.strip()]


def _generate(
    engine_args: EngineArgs, prompts: list[str], params: SamplingParams, printer: JsonPrinter | TextPrinter
) -> int:
    """All prompts at once; those that the engine refuses are reported, the others go on."""
    from vllm.engine.llm_engine import LLMEngine

    engine = LLMEngine.from_engine_args(engine_args)
    try:
        refused = _add(engine, prompts, params)
        for index, error in refused.items():
            printer.refuse(index)
            where = f"prompt {index}: " if len(prompts) > 1 else ""
            print(f"vllm: {where}{error}", file=sys.stderr)
        while engine.has_unfinished_requests():
            for output in engine.step():
                printer.take(int(output.request_id), output)
        printer.close()
    finally:
        engine.shutdown()
    return 1 if refused else 0


def _add(engine: LLMEngine, prompts: list[str], params: SamplingParams) -> Mapping[int, InvalidRequestError]:
    """Hand the prompts over; gives those that were refused."""
    refused: dict[int, InvalidRequestError] = {}
    for index, prompt in enumerate(prompts):
        try:
            engine.add_request(str(index), prompt, params)
        except InvalidRequestError as error:
            refused[index] = error
    return refused
