"""Where an engine step's time goes: output tokens per second of many requests, and each stage of a decode step.

    python benchmarks/engine_step.py [--shape T] [--load many-short] [--repeats 3] [--json FILE] [engine options as key=value]

Runs the load twice: outputs wanted at the end only, and streamed as deltas with their text. Stages are medians over the steps
in which every request decodes. "outside" is all but model, logits and sampler: what the engine itself costs; the mark is 1 ms.
Run it on a quiet machine and quote ratios of one run: a second process halves the memory bandwidth. On a busy one, `--clock cpu`
with OMP_NUM_THREADS=1 leaves out of the stages the time in which other processes ran.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from stopwatch import Stopwatch
from stubs import StubModel, StubSampler
from workloads import LOADS, SHAPES, Load, prompts, write_model

from vllm import LLM, EngineArgs, SamplingParams
from vllm.sampling_params import RequestOutputKind

MODEL_STAGES = ("forward", "logits", "sampler")
HOST_STAGES = ("schedule", "prepare inputs", "sampling upkeep", "update", "output processing", "engine")
MARK_MS = 1.0
CLOCKS = {"wall": time.perf_counter, "cpu": time.thread_time}


def main() -> None:
    """Measure, print, write."""
    args = _arguments()
    load = LOADS[args.load]
    with tempfile.TemporaryDirectory() as folder:
        model = write_model(args.shape, Path(folder) / args.shape)
        options = dict(option.split("=", 1) for option in args.options)
        llm = LLM(
            **vars(
                EngineArgs.from_kwargs({"model": str(model), "load_format": "dummy", "max_model_len": 256, **options})
            )
        )
    if args.stub_model:
        limits = llm.llm_engine.config.scheduler_config
        llm.collective_rpc(_stub, args=(limits.max_num_batched_tokens, limits.max_num_seqs))
    watch = Stopwatch(CLOCKS[args.clock])
    _watch_engine(llm, watch)
    results = {}
    for name, kind in (("at the end", RequestOutputKind.FINAL_ONLY), ("streamed", RequestOutputKind.DELTA)):
        runs = [
            _run(llm, watch, load, SHAPES[args.shape]["vocab_size"], kind, seed) for seed in range(args.repeats + 1)
        ]
        results[name] = max(runs[1:], key=lambda run: run["output_tokens_per_s"])  # the first one warms up
        _print(name, load, results[name])
    if args.json:
        Path(args.json).write_text(
            json.dumps({"shape": args.shape, "load": args.load, **results}, indent=2), encoding="utf-8"
        )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=sorted(SHAPES), default="T")
    parser.add_argument("--load", choices=sorted(LOADS), default="many-short")
    parser.add_argument("--repeats", type=int, default=3, help="measured runs; the best one is shown")
    parser.add_argument(
        "--clock", choices=sorted(CLOCKS), default="wall", help="of the stages: wall time, or this thread's on a CPU"
    )
    parser.add_argument(
        "--stub-model", action="store_true", help="model and sampler do nothing: the engine's work alone"
    )
    parser.add_argument("--json", help="file for the result")
    parser.add_argument("options", nargs="*", help="engine options, e.g. dtype=float32 max_num_batched_tokens=512")
    return parser.parse_args()


def _watch_engine(llm: LLM, watch: Stopwatch) -> None:
    """Time the stages from outside: the engine knows nothing of it. One rank in this process, or there is nothing to watch."""
    engine = llm.llm_engine
    core = engine._core
    watch.watch(core.scheduler, "schedule", "schedule")
    watch.watch(core.scheduler, "update", "update")
    watch.watch(engine._outputs, "process", "output processing")
    watch.watch(engine, "step", "engine")
    llm.collective_rpc(_watch_worker, args=(watch,))


def _stub(worker: Any, max_tokens: int, max_rows: int) -> None:
    worker.runner.model = StubModel(worker.runner.model, max_tokens, max_rows)
    worker.runner.sampler = StubSampler(max_rows)


def _watch_worker(worker: Any, watch: Stopwatch) -> None:
    runner = worker.runner
    watch.watch(runner, "prepare_inputs", "prepare inputs")
    watch.watch(runner, "forward", "forward")
    watch.watch(runner, "sample", "sampling upkeep")
    runner.model.compute_logits = watch.timed(runner.model.compute_logits, "logits")
    runner.sampler = watch.timed(runner.sampler, "sampler")


def _run(llm: LLM, watch: Stopwatch, load: Load, vocab_size: int, kind: RequestOutputKind, seed: int) -> dict[str, Any]:
    """The whole load once."""
    engine = llm.llm_engine
    params = SamplingParams(temperature=0.0, ignore_eos=True, max_tokens=load.output_tokens, output_kind=kind)
    params.detokenize = kind is RequestOutputKind.DELTA
    watch.end_step()
    watch.steps.clear()
    start_s = time.perf_counter()
    for number, token_ids in enumerate(prompts(load, vocab_size, seed)):
        engine.add_request(f"{seed}-{number}", {"prompt_token_ids": token_ids}, params)
    added_s = time.perf_counter() - start_s
    while engine.has_unfinished_requests():
        engine.step()
        watch.end_step()
    whole_s = time.perf_counter() - start_s
    return {
        "output_tokens_per_s": load.requests * load.output_tokens / whole_s,
        "whole_s": whole_s,
        "adding_requests_s": added_s,
        "steps": len(watch.steps),
        "stages_ms": _stages_ms(watch, load),
    }


def _stages_ms(watch: Stopwatch, load: Load) -> dict[str, float]:
    """Medians over the steps in the middle: after the prompts, before anything ends."""
    decodes = watch.steps[-load.output_tokens + 2 : -2]
    return {
        stage: statistics.median(step.get(stage, 0.0) for step in decodes) * 1e3
        for stage in (*MODEL_STAGES, *HOST_STAGES)
    }


def _print(name: str, load: Load, result: dict[str, Any]) -> None:
    stages = result["stages_ms"]
    outside_ms = sum(stages[stage] for stage in HOST_STAGES)
    print(f"\n{load.requests} requests {load.prompt_tokens} -> {load.output_tokens}, outputs {name}:")
    print(
        f"  {result['output_tokens_per_s']:,.0f} output tokens/s, {result['steps']} steps in {result['whole_s']:.3f} s"
    )
    print(f"  adding the requests took {result['adding_requests_s'] * 1e3:.1f} ms")
    for stage, value_ms in stages.items():
        print(f"  {stage:>20} {value_ms:8.3f} ms")
    print(f"  {'outside':>20} {outside_ms:8.3f} ms  (mark: {MARK_MS} ms with outputs at the end)")


if __name__ == "__main__":
    main()
