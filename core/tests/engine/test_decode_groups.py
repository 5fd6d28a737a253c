"""Decode rows that take turns: the split into steps against trying every split, and the scheduler that follows it. Blocks hold 4 tokens."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import pytest

from core.tests.engine.harness import Harness
from vllm.engine.scheduler.grouping import cheapest_steps
from vllm.platforms.constraints import SchedulingConstraints


def all_splits(rows: list[int]) -> Iterator[list[list[int]]]:
    """Every way to put the rows into steps."""
    if not rows:
        yield []
        return
    first, *rest = rows
    for split in all_splits(rest):
        yield [[first], *split]
        for index, step in enumerate(split):
            yield [*split[:index], [first, *step], *split[index + 1 :]]


def cost(step: list[int], constraints: SchedulingConstraints) -> float:
    """Of one step, by the words of the constraints; too much where it does not fit."""
    area = constraints.bucket_rows(len(step)) * max(step)
    budget = constraints.max_batch_context_tokens
    if budget is not None and len(step) > 1 and area > budget:
        return float("inf")
    return (constraints.decode_step_cost_tokens or 0) + area


@pytest.mark.parametrize("seed", range(40))
def test_no_split_is_cheaper(seed: int) -> None:
    draw = random.Random(seed)
    constraints = SchedulingConstraints(
        decode_batch_buckets=draw.choice([(), (1, 2, 4, 8), (2, 8), (1, 3, 6)]),
        max_batch_context_tokens=draw.choice([None, 64, 100]),
        decode_step_cost_tokens=draw.choice([0, 5, 40]),
    )
    rows = sorted(4 * draw.randrange(1, 9) for _ in range(draw.randrange(1, 7)))
    sizes = cheapest_steps(np.array(rows), constraints)
    edges = [0, *np.cumsum(sizes).tolist()]
    assert edges[-1] == len(rows)
    found = sum(cost(rows[start:end], constraints) for start, end in pairwise(edges))
    assert found == min(sum(cost(step, constraints) for step in split) for split in all_splits(rows))


def test_by_hand() -> None:
    """Three rows of 8 and one of 80: together 4 × 80 = 320, apart 24 + 80 and two fixed parts."""
    rows = np.array([8, 8, 8, 80])
    assert cheapest_steps(rows, SchedulingConstraints(decode_step_cost_tokens=10)) == [3, 1]
    assert cheapest_steps(rows, SchedulingConstraints(decode_step_cost_tokens=1000)) == [4]
    tight = SchedulingConstraints(decode_step_cost_tokens=1000, max_batch_context_tokens=80)
    assert cheapest_steps(rows, tight) == [3, 1]


def engine_with(**constraints: object) -> Harness:
    return Harness(
        num_blocks=200,
        max_model_len=160,
        max_num_batched_tokens=160,
        constraints=SchedulingConstraints(mixes_prefill_and_decode=False, **constraints),
    )


def decoded(engine: Harness) -> list[list[int]]:
    """Slots of each decode step so far."""
    return [plan.slots_N.tolist() for plan in engine.plans if plan.total_tokens == len(plan.slots_N) and not plan.new]


def test_long_and_short_rows_take_turns() -> None:
    engine = engine_with(decode_step_cost_tokens=10)
    engine.add("long", range(1, 101), max_tokens=5)
    for index in range(3):
        engine.add(f"short{index}", [index + 1, 2], max_tokens=5)
    engine.run()
    assert decoded(engine) == [[0], [1, 2, 3]] * 4
    engine.check_against_alone()


def test_without_a_step_cost_all_go_together() -> None:
    engine = engine_with()
    engine.add("long", range(1, 101), max_tokens=5)
    engine.add("short", [1, 2], max_tokens=5)
    engine.run()
    assert decoded(engine) == [[0, 1]] * 4


def test_the_budget_is_each_step_s() -> None:
    """Four requests that grow to 60 tokens run at once, although only two of them fit a step."""
    engine = engine_with(decode_step_cost_tokens=10_000, max_batch_context_tokens=128)
    for index in range(4):
        engine.add(f"r{index}", range(index + 1, index + 41), max_tokens=20)
    engine.step()
    assert engine.scheduler.stats().num_running == 4
    engine.run()
    assert max(map(len, decoded(engine))) == 2
    assert decoded(engine)[:4] == [[0, 1], [2, 3], [0, 1], [2, 3]]
    engine.check_against_alone()


@pytest.mark.parametrize("depth", [1, 2])
@pytest.mark.parametrize("seed", range(4))
def test_everybody_gets_what_it_gets_alone_and_nobody_waits_for_ever(seed: int, depth: int) -> None:
    draw = random.Random(seed)
    constraints = SchedulingConstraints(
        mixes_prefill_and_decode=bool(seed % 2),
        max_concurrent_prefills=1,
        decode_batch_buckets=(1, 2, 4),
        context_buckets=(8, 16, 64),
        max_batch_context_tokens=96,
        decode_step_cost_tokens=draw.choice([0, 20, 500]),
    )
    engine = Harness(constraints=constraints, depth=depth, num_blocks=40)
    for index in range(30):
        engine.add(str(index), range(1, draw.randrange(2, 17)), max_tokens=draw.randrange(1, 30))
        if draw.random() < 0.2:
            engine.abort(str(draw.randrange(index + 1)))
        for _ in range(draw.randrange(3)):
            engine.step()
    engine.run()
    for plan in engine.plans:
        if plan.total_tokens == len(plan.slots_N) and not plan.new:
            longest = constraints.bucket_context(int(plan.num_computed_N.max()) + 1, 4)
            assert constraints.bucket_rows(len(plan.slots_N)) * longest <= 96
    engine.check_against_alone()
