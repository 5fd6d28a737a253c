"""Random lives of the scheduler: whatever arrives, is aborted, preempted or found in the cache, each request ends as it would alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from core.tests.engine.harness import EOS, Harness
from vllm.messages import Delivery
from vllm.platforms.constraints import SchedulingConstraints
from vllm.sampling_params import RepetitionDetectionParams, StructuredOutputsParams

CONSTRAINTS = {
    "none": SchedulingConstraints(),
    "one prefill in fixed chunks, apart": SchedulingConstraints(
        max_concurrent_prefills=1,
        prefill_chunk_tokens=8,
        mixes_prefill_and_decode=False,
        decode_steps_between_prefills=2,
        decode_batch_buckets=(1, 2, 3),
        token_buckets=(4, 12),
        max_batch_context_tokens=128,
    ),
}
PROMPTS = st.lists(st.integers(1, 2), min_size=1, max_size=24)
"""Two different tokens: many prompts begin alike."""


class SchedulerLife(RuleBasedStateMachine):
    """Engine calls in any order. Each rule checks the invariants; the fake worker checks every plan."""

    depth = 1
    uneven = False

    # Longest request: 24 + 16 tokens, 10 blocks; the smallest cache has 11.
    @initialize(
        constraints=st.sampled_from(sorted(CONSTRAINTS)),
        num_blocks=st.integers(12, 24),
        policy=st.sampled_from(["fcfs", "priority"]),
        caching=st.booleans(),
        chunked=st.booleans(),
        threshold=st.sampled_from([0, 3]),
        watermark=st.sampled_from([0.0, 0.2]),
    )
    def start(self, constraints, num_blocks, policy, caching, chunked, threshold, watermark):
        self.engine = Harness(
            num_blocks=num_blocks,
            depth=self.depth,
            uneven=self.uneven,
            constraints=CONSTRAINTS[constraints],
            max_model_len=40,
            cache={"enable_prefix_caching": caching, "watermark": watermark},
            policy=policy,
            enable_chunked_prefill=chunked,
            long_prefill_token_threshold=threshold,
            max_num_batched_tokens=12 if chunked else 40,
        )
        self.count = 0

    @rule(
        prompt=PROMPTS,
        max_tokens=st.integers(1, 16),
        stops=st.booleans(),
        min_tokens=st.integers(0, 3),
        priority=st.integers(-1, 1),
        kind=st.sampled_from(["plain", "plain", "grammar", "repetition", "prompt_logprobs", "many_stops"]),
        at_finish=st.booleans(),
        salt=st.sampled_from([None, None, "a"]),
    )
    def add(self, prompt, max_tokens, stops, min_tokens, priority, kind, at_finish, salt):
        sampling = {
            "grammar": {"structured_outputs": StructuredOutputsParams(regex="a")},
            "repetition": {"repetition_detection": RepetitionDetectionParams(max_pattern_size=2)},
            "prompt_logprobs": {"prompt_logprobs": 0},
        }.get(kind, {})
        many = tuple(range(30, 40)) if kind == "many_stops" else (11,)
        self.count += 1
        self.engine.add(
            f"r{self.count}",
            prompt,
            max_tokens,
            stop=many if stops else (),
            eos=(EOS,) if stops else (),
            min_tokens=min(min_tokens, max_tokens),
            priority=priority,
            cache_salt=salt,
            delivery=Delivery.AT_FINISH if at_finish else Delivery.EVERY_STEP,
            **sampling,
        )

    @rule(steps=st.integers(1, 4))
    def step(self, steps):
        for _ in range(steps):
            self.engine.step()

    @rule()
    def plan_only(self):
        """Leaves results untaken, so that aborts meet steps in flight."""
        if len(self.engine.inflight) < self.depth:
            self.engine.plan()

    @rule(which=st.integers(0, 50))
    def abort(self, which):
        alive = sorted(self.engine.requests.keys() - self.engine.finished.keys())
        if alive:
            self.engine.abort(alive[which % len(alive)], "unknown id")

    @rule()
    def reset_prefix_cache(self):
        self.engine.scheduler.reset_prefix_cache()

    @invariant()
    def laws_hold(self):
        if hasattr(self, "engine"):
            self.engine.scheduler.check_invariants()

    def teardown(self):
        if hasattr(self, "engine"):
            self.engine.run()
            self.engine.check_against_alone()
            stats = self.engine.scheduler.stats()
            assert (stats.num_running, stats.num_waiting, stats.kv_cache_usage) == (0, 0, 0.0)


@pytest.mark.parametrize("depth,uneven", [(1, False), (1, True), (2, False), (3, False)])
def test_any_life_ends_as_alone(depth, uneven):
    machine = type("Life", (SchedulerLife,), {"depth": depth, "uneven": uneven})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking such lives takes minutes
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("caching", [False, True])
def test_many_requests_through_a_tiny_cache(depth, caching):
    """The cache holds a third of what runs: at least 50 preemptions, and nobody notices."""
    random = np.random.default_rng(20)
    engine = Harness(
        num_blocks=25,
        depth=depth,
        max_num_seqs=8,
        max_num_batched_tokens=24,
        cache={"enable_prefix_caching": caching},
    )
    for index in range(64):
        prompt = random.integers(1, 3, size=random.integers(1, 24)).tolist()
        engine.add(f"r{index}", prompt, int(random.integers(8, 40)), eos=(EOS,) if index % 4 == 0 else ())
    engine.run()
    engine.check_against_alone()
    assert engine.scheduler.stats().num_preemptions >= 50
