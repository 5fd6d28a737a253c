"""Owns `vllm bench latency`: one batch, again and again, how long it takes."""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass

from vllm.config.engine_args import EngineArgs
from vllm.config.option_kinds import whole
from vllm.config.options import option
from vllm.entrypoints.cli.bench.common import (
    BenchOptions,
    create_llm,
    print_latencies,
    random_prompts,
    sampling_params,
    write_json,
)
from vllm.entrypoints.cli.flags import add_command, read_sets

__all__ = ["add_parser", "run"]


@dataclass(kw_only=True)
class LatencyOptions(BenchOptions):
    """Options of this kind."""

    batch_size: int = option(8, whole(at_least=1), "Requests of the batch.", group="Benchmark", common=True)
    num_iters_warmup: int = option(10, whole(at_least=0), "Runs before measuring.", group="Benchmark", common=True)
    num_iters: int = option(30, whole(at_least=1), "Runs that are measured.", group="Benchmark", common=True)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register `vllm bench latency`."""
    what = "measure how long one batch of requests takes"
    add_command(subparsers, "latency", what, LatencyOptions, EngineArgs).set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Warm up, measure, print what vLLM prints. Each run has new prompts: the prefix cache must not help."""
    options, engine_args = read_sets(args, LatencyOptions, EngineArgs)
    llm = create_llm(engine_args)
    vocab_size = llm.llm_engine.config.model_config.vocab_size
    params = sampling_params(options)

    def one_run(seed: int) -> float:
        prompts = random_prompts(options.batch_size, options.input_len, vocab_size, seed)
        start_s = time.perf_counter()
        llm.generate(prompts, params, use_tqdm=False)
        return time.perf_counter() - start_s

    first = engine_args.seed
    for index in range(options.num_iters_warmup):
        one_run(first + index)
    latencies_s = [one_run(first + options.num_iters_warmup + index) for index in range(options.num_iters)]
    write_json(options.output_json, print_latencies("latency", latencies_s))
    return 0
