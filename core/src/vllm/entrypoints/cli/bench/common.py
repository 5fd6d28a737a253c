"""Owns what the measurements share: random prompts, the options of every kind, percentiles, the JSON file."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from vllm.config.option_kinds import SWITCH, text, whole
from vllm.config.options import option, read_options
from vllm.errors import ConfigError, VllmError

if TYPE_CHECKING:
    from vllm.config.engine_args import EngineArgs
    from vllm.entrypoints.llm import LLM
    from vllm.sampling_params import SamplingParams

__all__ = [
    "BenchOptions",
    "check_json_path",
    "create_llm",
    "percentiles",
    "print_latencies",
    "random_prompts",
    "sampling_params",
    "write_json",
]

PERCENTS: Any = (10, 25, 50, 75, 90, 99)
_Percent = TypeVar("_Percent", int, float)


@dataclass(kw_only=True)
class BenchOptions:
    """Options of every kind of measurement."""

    input_len: int = option(32, whole(at_least=1, human=True), "Tokens of each prompt.", group="Benchmark", common=True)
    output_len: int = option(
        128, whole(at_least=1, human=True), "Tokens generated for each.", group="Benchmark", common=True
    )
    n: int = option(1, whole(at_least=1), "Outputs per prompt.", group="Benchmark")
    disable_detokenize: bool = option(False, SWITCH, "Do not turn outputs into text.", group="Benchmark")
    output_json: str | None = option(
        None, text(placeholder="FILE"), "Write the result there too.", group="Benchmark", common=True
    )

    def __post_init__(self) -> None:
        read_options(self)
        check_json_path(self.output_json)


def create_llm(engine_args: EngineArgs) -> LLM:
    """The engine that is measured."""
    from vllm.entrypoints.llm import LLM

    return LLM(**{**vars(engine_args), "disable_log_stats": True})


def random_prompts(count: int, length_tokens: int, vocab_size: int, seed: int) -> list[Any]:
    """`count` prompts of random ids below `vocab_size`; no two share a beginning, so that the prefix cache cannot help."""
    from vllm.inputs import TokensPrompt

    draw = random.Random(seed)
    return [TokensPrompt(prompt_token_ids=draw.choices(range(vocab_size), k=length_tokens)) for _ in range(count)]


def sampling_params(options: BenchOptions, *, temperature: float = 1.0) -> SamplingParams:
    """Exactly `output_len` tokens."""
    from vllm.sampling_params import RequestOutputKind, SamplingParams

    return SamplingParams(
        n=options.n,
        temperature=temperature,
        ignore_eos=True,
        max_tokens=options.output_len,
        detokenize=not options.disable_detokenize,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def percentiles(values_s: Sequence[float], percents: Sequence[_Percent] = PERCENTS) -> dict[_Percent, float]:
    """Percent -> value, by linear interpolation between neighbours."""
    ordered = sorted(values_s)

    def at(percent: float) -> float:
        position = (len(ordered) - 1) * percent / 100
        low = int(position)
        high = min(low + 1, len(ordered) - 1)
        return ordered[low] + (ordered[high] - ordered[low]) * (position - low)

    return {percent: at(percent) for percent in percents}


def print_latencies(what: str, values_s: Sequence[float]) -> dict[str, Any]:
    """Print average and percentiles as vLLM does; gives them for the JSON file."""
    found = percentiles(values_s)
    average_s = sum(values_s) / len(values_s)
    print(f"Avg {what}: {average_s} seconds")
    for percent, value_s in found.items():
        print(f"{percent}% percentile {what}: {value_s} seconds")
    key = what.replace(" ", "_")
    return {f"avg_{key}": average_s, "latencies": list(values_s), "percentiles": {str(k): v for k, v in found.items()}}


def check_json_path(path: str | None, flag: str = "--output-json") -> None:
    """Raise ConfigError where the file of `flag` could not be written: before the measurement, not after it."""
    if path is None:
        return
    folder = Path(path).absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"{flag} {path}: there is no folder {folder}.", remedy="create it, or give another")
    if Path(path).is_dir() or not os.access(path if Path(path).exists() else folder, os.W_OK):
        raise ConfigError(f"{flag} {path} cannot be written.", remedy="give a file that you may write")


def write_json(path: str | None, result: Mapping[str, Any], flag: str = "--output-json") -> None:
    """Write the result where `flag` says."""
    if path is None:
        return
    try:
        Path(path).write_text(json.dumps(result, indent=4) + "\n", encoding="utf-8")
    except OSError as error:
        raise VllmError(f"{flag} {path} could not be written: {error.strerror}.") from error
