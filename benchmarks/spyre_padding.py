"""How much of what a card with fixed shapes computes is padding: three workloads, six ways to batch them. No torch, the scheduler alone.

    python benchmarks/spyre_padding.py [--requests 120] [--rows 16] [--seeds 3] [--json FILE]

Columns, each a mean over the seeds:
  tokens    useful / computed tokens that go through the layers (prompt chunks and decode rows, with their padding)
  context   useful / computed places of the cache that decode steps read (rows × longest context, with their padding)
  steps     decode steps
  cost      what all decode steps cost together, the first line being 100: a fixed part each (reading the weights) plus the context;
            for Granite 3.3 8B, whose weights weigh as much as 97,000 tokens of context
  running   mean number of requests that hold a slot
  shapes    how many shapes must be compiled, chunks of prompts and decodes

The first line is the rule of thumb: all rows in every step, admitted only if their longest possible contexts fit the budget together, and
a common length that shrinks only when the batch is empty. Each further line adds one thing.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vllm.config import CacheConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.engine.scheduler.scheduler import Scheduler
from vllm.messages import Delivery, EngineRequest, StepOutput, StepPlan
from vllm.platforms.constraints import SchedulingConstraints
from vllm.sampling_params import SamplingParams
from vllm.worker.kv_cache_spec import KVCacheConfig
from vllm_spyre.buckets import constraints as spyre_constraints
from vllm_spyre.settings import BLOCK_TOKENS, Settings

MAX_MODEL_LEN = 32768
EOS = 1
GRANITE_8B = {
    "hidden_size": 4096,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "intermediate_size": 12800,
}

Lengths = tuple[int, int, int]
"""Prompt tokens, output tokens, max_tokens that the client gives."""


def chat(draw: np.random.Generator) -> Lengths:
    """Prompts around 250 tokens with a long tail, answers around 150."""
    return _around(draw, 250, 1.0, 4000), _around(draw, 150, 0.8, 1024), 1024


def long_prompts(draw: np.random.Generator) -> Lengths:
    """Documents of 2,000 to 24,000 tokens, short answers."""
    return int(draw.integers(2000, 24_000)), _around(draw, 120, 0.7, 512), 512


def mixed(draw: np.random.Generator) -> Lengths:
    """One document among nine chats."""
    return long_prompts(draw) if draw.random() < 0.1 else chat(draw)


WORKLOADS: dict[str, Callable[[np.random.Generator], Lengths]] = {
    "chat": chat,
    "long prompts": long_prompts,
    "mixed": mixed,
}


def _around(draw: np.random.Generator, median: int, spread: float, most: int) -> int:
    return int(np.clip(draw.lognormal(np.log(median), spread), 1, most))


@dataclass(frozen=True)
class Policy:
    """A way to batch."""

    name: str
    constraints: SchedulingConstraints
    shrinks: bool = True
    """The common length is that of the rows in the step, not of the longest since the batch was last empty."""


def policies(rows: int) -> list[Policy]:
    """From the rule of thumb to what the plugin does."""
    config = VllmConfig(
        model_config=ModelConfig(
            model="m", served_model_name="m", tokenizer="m", max_model_len=MAX_MODEL_LEN, hf_config=GRANITE_8B
        ),
        scheduler_config=SchedulerConfig(max_num_seqs=rows),
    )
    ours = spyre_constraints(config, Settings.read({"VLLM_DT_MAX_BATCH_SIZE": str(rows)}))
    together = replace(ours, decode_step_cost_tokens=None)
    every_block = tuple(range(BLOCK_TOKENS, MAX_MODEL_LEN + 1, BLOCK_TOKENS))
    finer_rows = tuple(
        sorted({*ours.decode_batch_buckets, *(3 * size // 2 for size in ours.decode_batch_buckets if 1 < size < rows)})
    )
    return [
        Policy("rule of thumb", together, shrinks=False),
        Policy("+ re-packed in every step", together),
        Policy("+ rows take turns (the plugin)", ours),
        Policy("  the same, ends of prompts in 128", replace(ours, token_buckets=(128, *ours.token_buckets))),
        Policy("  the same, batches 1, 2, 3, 4, 6 …", replace(ours, decode_batch_buckets=finer_rows)),
        Policy("  the same, every block a shape", replace(ours, context_buckets=every_block)),
    ]


@dataclass
class Count:
    """Sums over a run."""

    useful_tokens: int = 0
    computed_tokens: int = 0
    useful_context: int = 0
    computed_context: int = 0
    decode_steps: int = 0
    running: list[int] = field(default_factory=list)

    def columns(self, step_cost_tokens: int) -> dict[str, float]:
        """As the table shows them; "cost" in tokens of context."""
        return {
            "tokens": self.useful_tokens / self.computed_tokens,
            "context": self.useful_context / self.computed_context,
            "steps": self.decode_steps,
            "cost": step_cost_tokens * self.decode_steps + self.computed_context,
            "running": float(np.mean(self.running)),
        }


def run(policy: Policy, lengths: list[Lengths], rows: int) -> Count:
    """All requests queued at once, until the last has ended."""
    scheduler, count, longest_tokens = _scheduler(policy, rows), Count(), 0
    for index, (prompt, _, max_tokens) in enumerate(lengths):
        scheduler.add_request(_request(index, prompt, max_tokens))
    ends = np.array([prompt + outputs for prompt, outputs, _ in lengths])
    request_S = np.zeros(rows, np.int64)
    while scheduler.has_unfinished_requests():
        plan = scheduler.schedule()
        assert plan is not None, "requests are left, and nothing can be done"
        for new in plan.new:
            request_S[new.slot] = int(new.request_id)
        stats = scheduler.stats()
        count.running.append(stats.num_running)
        if plan.total_tokens > 1 and len(plan.slots_N) == 1 and plan.num_scheduled_N[0] > 1:
            count.useful_tokens += plan.total_tokens
            count.computed_tokens += policy.constraints.bucket_tokens(plan.total_tokens)
        else:
            longest_tokens = _count_decode(count, policy, plan, longest_tokens)
        scheduler.update(plan, _output(plan, ends[request_S[plan.slots_N]]))
        if not scheduler.stats().num_running:
            longest_tokens = 0
    return count


def _count_decode(count: Count, policy: Policy, plan: StepPlan, longest_before: int) -> int:
    context_N = plan.num_computed_N + 1
    longest_tokens = int(context_N.max())
    if not policy.shrinks:
        longest_tokens = max(longest_tokens, longest_before)
    padded_rows = policy.constraints.bucket_rows(len(context_N))
    count.useful_tokens += len(context_N)
    count.computed_tokens += padded_rows
    count.useful_context += int(context_N.sum())
    count.computed_context += padded_rows * policy.constraints.bucket_context(longest_tokens, BLOCK_TOKENS)
    count.decode_steps += 1
    return longest_tokens


def _scheduler(policy: Policy, rows: int) -> Scheduler:
    """With a cache that holds the whole budget twice."""
    config = VllmConfig(
        model_config=ModelConfig(model="m", served_model_name="m", tokenizer="m", max_model_len=MAX_MODEL_LEN),
        cache_config=CacheConfig(block_size=BLOCK_TOKENS, enable_prefix_caching=False),
        scheduler_config=SchedulerConfig(max_num_seqs=rows),
    )
    num_blocks = 2 * (policy.constraints.max_batch_context_tokens or 0) // BLOCK_TOKENS + 1
    return Scheduler(
        config, KVCacheConfig(num_blocks=num_blocks, block_size=BLOCK_TOKENS, groups=()), policy.constraints
    )


def _request(index: int, prompt_tokens: int, max_tokens: int) -> EngineRequest:
    return EngineRequest(
        request_id=str(index),
        prompt_token_ids=np.full(prompt_tokens, 5, np.int32),
        sampling=SamplingParams(max_tokens=max_tokens),
        seed=0,
        max_tokens=max_tokens,
        stop_token_ids=(EOS,),
        eos_token_ids=(EOS,),
        delivery=Delivery.AT_FINISH,
    )


def _output(plan: StepPlan, end_N: np.ndarray) -> StepOutput:
    """A token per sampling row, the end token where the request's text is complete."""
    sampling_N = plan.samples_N
    total_M = (plan.num_computed_N + plan.num_scheduled_N + 1)[sampling_N]
    return StepOutput(
        step=plan.step,
        slots_N=plan.slots_N[sampling_N],
        counts_N=np.ones(len(total_M), np.int32),
        token_ids_M=np.where(total_M >= end_N[sampling_N], EOS, 5).astype(np.int32),
    )


def shapes(constraints: SchedulingConstraints) -> int:
    """Chunks that fit their context, and decodes within the budget."""
    contexts = constraints.context_buckets
    chunks = sum(chunk <= context for context in contexts for chunk in constraints.token_buckets)
    decodes = [(size, context) for context in contexts for size in constraints.decode_batch_buckets]
    return chunks + sum(constraints.most_rows(context, size) == size for size, context in decodes)


def measure(workload: str, requests: int, rows: int, seeds: int) -> list[dict[str, object]]:
    """The lines of one workload."""
    lines: list[dict[str, object]] = []
    for policy in policies(rows):
        cost = policies(rows)[2].constraints.decode_step_cost_tokens or 0
        found = []
        for seed in range(seeds):
            draw = np.random.default_rng(seed)
            lengths = [WORKLOADS[workload](draw) for _ in range(requests)]
            found.append(run(policy, lengths, rows).columns(cost))
        means = {name: float(np.mean([columns[name] for columns in found])) for name in found[0]}
        lines.append({"workload": workload, "policy": policy.name, **means, "shapes": shapes(policy.constraints)})
    first_cost = lines[0]["cost"]
    return [{**line, "cost": 100 * line["cost"] / first_cost} for line in lines]  # type: ignore[operator]


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=120, help="per run")
    parser.add_argument("--rows", type=int, default=16, help="most requests at once")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the lines here, too")
    args = parser.parse_args()
    lines = [line for workload in WORKLOADS for line in measure(workload, args.requests, args.rows, args.seeds)]
    print(
        f"{'workload':<13}{'policy':<36}{'tokens':>8}{'context':>9}{'steps':>8}{'cost':>7}{'running':>9}{'shapes':>8}"
    )
    for line in lines:
        print(
            f"{line['workload']:<13}{line['policy']:<36}{line['tokens']:>8.1%}{line['context']:>9.1%}{line['steps']:>8.0f}"
            f"{line['cost']:>7.1f}{line['running']:>9.1f}{line['shapes']:>8}"
        )
    if args.json:
        args.json.write_text(json.dumps(lines, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
