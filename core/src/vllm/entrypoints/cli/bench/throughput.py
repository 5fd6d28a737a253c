"""Owns `vllm bench throughput`: many requests at once, how many tokens per second."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

from vllm.config.engine_args import EngineArgs
from vllm.config.option_kinds import whole
from vllm.config.options import option
from vllm.entrypoints.cli.bench.common import BenchOptions, create_llm, random_prompts, sampling_params, write_json
from vllm.entrypoints.cli.flags import add_command, read_sets

__all__ = ["add_parser", "run"]


@dataclass(kw_only=True)
class ThroughputOptions(BenchOptions):
    """Options of this kind."""

    num_prompts: int = option(1000, whole(at_least=1, human=True), "Requests.", group="Benchmark", common=True)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm bench throughput`."""
    what = "measure tokens per second of many requests at once"
    add_command(subparsers, "throughput", what, ThroughputOptions, EngineArgs).set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Measure once and print what vLLM prints."""
    options, engine_args = read_sets(args, ThroughputOptions, EngineArgs)
    llm = create_llm(engine_args)
    vocab_size = llm.llm_engine.config.model_config.vocab_size
    prompts = random_prompts(options.num_prompts, options.input_len, vocab_size, engine_args.seed)
    start_s = time.perf_counter()
    outputs = llm.generate(prompts, sampling_params(options), use_tqdm=True)
    elapsed_s = time.perf_counter() - start_s
    prompt_tokens = sum(len(output.prompt_token_ids or ()) for output in outputs)
    output_tokens = sum(len(one.token_ids) for output in outputs for one in output.outputs)
    _report(options, elapsed_s, prompt_tokens, output_tokens)
    return 0


def _report(options: ThroughputOptions, elapsed_s: float, prompt_tokens: int, output_tokens: int) -> None:
    total_tokens = prompt_tokens + output_tokens
    requests_per_s, tokens_per_s = options.num_prompts / elapsed_s, total_tokens / elapsed_s
    print(
        f"Throughput: {requests_per_s:.2f} requests/s, {tokens_per_s:.2f} total tokens/s, "
        f"{output_tokens / elapsed_s:.2f} output tokens/s"
    )
    print(f"Total num prompt tokens:  {prompt_tokens}")
    print(f"Total num output tokens:  {output_tokens}")
    result = {
        "elapsed_time": elapsed_s,
        "num_requests": options.num_prompts,
        "total_num_tokens": total_tokens,
        "requests_per_second": requests_per_s,
        "tokens_per_second": tokens_per_s,
    }
    write_json(options.output_json, result)
