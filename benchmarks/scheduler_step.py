"""What one engine step costs the host: scheduler and KV manager, `schedule()` + `update()`, over the number of running decodes.

    python benchmarks/scheduler_step.py [--steps 512] [--rows 16 64 256 1024] [--clock cpu]

No model runs: each row yields a token at once. Block boundaries come staggered (each request stands elsewhere in its block, as in serving)
or all in the same step (equal prompts started together, the worst case). Tokens are wanted at the end, or at every step (streaming).
Times are in microseconds; the mark is a mean of at most 1,000 at 1,024 decodes. Run it on a quiet machine;
on a busy one `--clock cpu` leaves out the time in which other processes ran.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Callable

import numpy as np

from vllm.config import CacheConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.engine.scheduler.scheduler import Scheduler
from vllm.messages import Delivery, EngineRequest, StepOutput, StepPlan
from vllm.platforms.constraints import SchedulingConstraints
from vllm.sampling_params import SamplingParams
from vllm.worker.kv_cache_spec import KVCacheConfig

BLOCK_SIZE = 16
PROMPT_TOKENS = 64
MARK_US = 1000.0

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=512, help="measured steps of each case")
    parser.add_argument("--rows", type=int, nargs="+", default=[16, 64, 256, 1024], help="running decodes")
    parser.add_argument("--depth", type=int, default=1, help="steps in flight")
    parser.add_argument(
        "--clock", choices=sorted(CLOCKS), default="wall", help="wall time, or this process's time on a CPU"
    )
    args = parser.parse_args()
    clock = CLOCKS[args.clock]
    print(
        f"{'decodes':>8} {'delivery':>10} {'boundaries':>10} {'mean':>8} {'median':>8} {'p99':>8} {'max':>8} {'per row':>8}"
    )
    for delivery in (Delivery.AT_FINISH, Delivery.EVERY_STEP):
        for staggered in (True, False):
            for rows in args.rows:
                times_us = measure(rows, args.steps, delivery, staggered, args.depth, clock)
                report(rows, delivery, staggered, times_us)


def report(rows: int, delivery: Delivery, staggered: bool, times_us: np.ndarray) -> None:
    """One line of the table."""
    mean = times_us.mean()
    median, p99 = np.percentile(times_us, [50, 99])
    where = "staggered" if staggered else "together"
    verdict = "" if rows < 1024 else ("  within the mark" if mean <= MARK_US else "  ABOVE THE MARK")
    print(
        f"{rows:>8} {delivery.value:>10} {where:>10} {mean:>8.0f} {median:>8.0f} {p99:>8.0f} {times_us.max():>8.0f} "
        f"{mean / rows:>8.2f}{verdict}"
    )


def measure(rows: int, steps: int, delivery: Delivery, staggered: bool, depth: int, clock: Clock) -> np.ndarray:
    """Microseconds of `schedule()` + `update()` of each step, with all requests decoding."""
    scheduler = make_scheduler(rows, steps, depth)
    for index in range(rows):
        scheduler.add_request(make_request(index, steps, delivery, staggered))
    scheduler.update(*answered(scheduler.schedule()))
    gc.collect()
    gc.freeze()  # as the engine core does once it is set up
    inflight, times_us = [], []
    for _ in range(steps):
        start_s = clock()
        while len(inflight) < depth and (plan := scheduler.schedule()) is not None:
            start_s += pause(lambda plan=plan: inflight.append(answered(plan)), clock)
        scheduler.update(*inflight.pop(0))
        times_us.append((clock() - start_s) * 1e6)
    assert scheduler.stats().num_running == rows
    gc.unfreeze()
    return np.array(times_us)


def pause(work: Callable[[], None], clock: Clock) -> float:
    """Seconds that the fake worker took, which are not the scheduler's."""
    start_s = clock()
    work()
    return clock() - start_s


def make_scheduler(rows: int, steps: int, depth: int) -> Scheduler:
    """A scheduler whose cache holds all requests to their end."""
    tokens = PROMPT_TOKENS + BLOCK_SIZE + steps + 16
    config = VllmConfig(
        model_config=ModelConfig(model="m", served_model_name="m", tokenizer="m", max_model_len=tokens),
        cache_config=CacheConfig(block_size=BLOCK_SIZE),
        scheduler_config=SchedulerConfig(max_num_seqs=rows, max_num_batched_tokens=rows * (PROMPT_TOKENS + BLOCK_SIZE)),
    )
    num_blocks = 1 + rows * (-(-tokens // BLOCK_SIZE))
    cache = KVCacheConfig(num_blocks=num_blocks, block_size=BLOCK_SIZE, groups=())
    return Scheduler(config, cache, SchedulingConstraints(), max_inflight_steps=depth)


def make_request(index: int, steps: int, delivery: Delivery, staggered: bool) -> EngineRequest:
    """A request with a prompt of its own and one EOS id that never comes."""
    length = PROMPT_TOKENS + (index % BLOCK_SIZE if staggered else 0)
    return EngineRequest(
        request_id=f"cmpl-{index:032x}",
        prompt_token_ids=np.random.default_rng(index).integers(0, 30_000, size=length).astype(np.int32),
        sampling=SamplingParams(max_tokens=steps + 8),
        seed=index,
        max_tokens=steps + 8,
        stop_token_ids=(31_999,),
        eos_token_ids=(31_999,),
        delivery=delivery,
    )


def answered(plan: StepPlan | None) -> tuple[StepPlan, StepOutput]:
    """A plan with its result: one token per sampling row."""
    assert plan is not None
    slots_N = plan.slots_N[plan.samples_N]
    tokens_M = ((slots_N + plan.step) % 30_000).astype(np.int32)
    return plan, StepOutput(
        step=plan.step, slots_N=slots_N, counts_N=np.ones(len(slots_N), np.int32), token_ids_M=tokens_M
    )


if __name__ == "__main__":
    main()
