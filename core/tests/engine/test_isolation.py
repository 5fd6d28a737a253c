"""Steps that fail: whose fault it is, is found in halves; the others go on as if nothing had happened; what is nobody's ends the engine."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest

from core.tests.engine.fake_model import FakeWorker
from core.tests.engine.harness import Harness
from vllm.engine.scheduler.isolation import MOST_IN_A_ROW
from vllm.messages import EngineStepOutput, FinishReason, StepOutput, StepPlan

Rows = dict[str, int]
"""Request → tokens that it has computed at the step's end."""
DEPTHS = pytest.mark.parametrize("depth", [1, 2])


class FailingWorker(FakeWorker):
    """Raises, which is a None here, where `fails(rows)`; and at every step behind that, until a plan starts anew."""

    def __init__(self, num_blocks: int, block_size: int, fails: Callable[[Rows], bool]) -> None:
        super().__init__(num_blocks, block_size)
        self.fails = fails
        self.is_undone = False
        self.story: list[tuple[bool, Rows]] = []
        """(went well, rows) of every step that ran."""

    def run(self, plan: StepPlan, uneven: bool = False) -> StepOutput | None:  # type: ignore[override]
        self.is_undone = self.is_undone and not plan.starts_anew
        if self.is_undone:
            return None
        rows = self._rows(plan)
        self.is_undone = self.fails(rows)
        self.story.append((not self.is_undone, rows))
        return None if self.is_undone else super().run(plan, uneven)

    def _rows(self, plan: StepPlan) -> Rows:
        names = self.request_of | {new.slot: new.request_id for new in plan.new}
        ends_N = plan.num_computed_N + plan.num_scheduled_N
        return {names[slot]: end for slot, end in zip(plan.slots_N.tolist(), ends_N.tolist(), strict=True)}


class FailingHarness(Harness):
    """Takes the answer of a failed step as the engine core does."""

    worker: FailingWorker

    def __init__(self, fails: Callable[[Rows], bool], *, num_blocks: int = 200, **more: object) -> None:
        super().__init__(num_blocks=num_blocks, **more)  # type: ignore[arg-type]
        self.worker = FailingWorker(num_blocks, 4, fails)
        self.gave_up = False

    def take(self) -> EngineStepOutput:
        plan, output = self.inflight[0]
        if output is not None:
            return super().take()
        self.inflight.clear()
        self.gave_up = not self.scheduler.isolate(plan)
        self.scheduler.check_invariants()
        told = self.scheduler.drain_finished() or EngineStepOutput(tokens=None, finished=())
        self._collect(told)
        return told

    def run_until_given_up(self) -> None:
        while self.scheduler.has_unfinished_requests() and not self.gave_up:
            self.step()


def poisoned(**tokens_of: int) -> Callable[[Rows], bool]:
    """A step fails in which one of these requests computes so many tokens, or more."""
    return lambda rows: any(rows.get(name, 0) >= tokens for name, tokens in tokens_of.items())


def busy(engine: Harness, count: int = 8, **more: object) -> None:
    """Requests r0, r1, … with a common beginning."""
    for number in range(count):
        engine.add(f"r{number}", [*range(1, 10), number], max_tokens=12, **more)  # type: ignore[arg-type]


@DEPTHS
def test_one_request_fails_alone_and_the_others_never_notice(depth: int) -> None:
    engine = FailingHarness(poisoned(r5=14), depth=depth, max_num_seqs=8, max_num_batched_tokens=64)
    busy(engine)
    engine.run()
    engine.check_against_alone()
    reasons = {name: finished.reason for name, finished in engine.finished.items()}
    assert reasons.pop("r5") is FinishReason.ERROR
    assert set(reasons.values()) == {FinishReason.LENGTH}
    assert len(engine.finished["r5"].output_token_ids) == 4  # 10 of the prompt and 3 outputs were computed well
    failures = [sorted(rows) for well, rows in engine.worker.story if not well]
    assert [len(rows) for rows in failures] == [8, 4, 2, 1]
    assert engine.scheduler.stats().num_failed_steps == 4
    assert engine.scheduler.stats().kv_cache_usage == 0


@DEPTHS
def test_nobody_else_is_in_a_step_of_suspects(depth: int) -> None:
    engine = FailingHarness(poisoned(r1=12), depth=depth, max_num_seqs=4, max_num_batched_tokens=64)
    busy(engine, 4)
    engine.step()
    busy_before = {"r0", "r1", "r2", "r3"}
    for number in range(3):
        engine.add(f"late{number}", [30, number + 1], max_tokens=3)
    engine.run()
    engine.check_against_alone()
    first = next(place for place, (well, _) in enumerate(engine.worker.story) if not well)
    last = max(place for place, (well, _) in enumerate(engine.worker.story) if not well)
    assert all(rows.keys() <= busy_before for _, rows in engine.worker.story[first : last + 1])
    assert engine.finished["r1"].reason is FinishReason.ERROR


@DEPTHS
def test_several_culprits_are_found_each(depth: int) -> None:
    engine = FailingHarness(
        poisoned(r0=11, r3=11, r4=13, r7=20), depth=depth, max_num_seqs=8, max_num_batched_tokens=64
    )
    busy(engine)
    engine.run()
    engine.check_against_alone()
    failed = {name for name, finished in engine.finished.items() if finished.reason is FinishReason.ERROR}
    assert failed == {"r0", "r3", "r4", "r7"}


@DEPTHS
def test_what_a_failed_step_would_have_made_findable_is_not_found(depth: int) -> None:
    """r0 fails in its prompt, whose blocks are findable from planning on; r1 begins with the same tokens."""
    engine = FailingHarness(poisoned(r0=9), depth=depth, max_num_seqs=2, max_num_batched_tokens=64)
    engine.add("r0", range(1, 11), max_tokens=4)
    engine.step()
    engine.add("r1", range(1, 9), max_tokens=4)
    engine.run()
    engine.check_against_alone()
    assert engine.finished["r0"].reason is FinishReason.ERROR
    assert engine.finished["r1"].num_cached_tokens == 0


@DEPTHS
def test_a_step_that_fails_once_is_nobodys_fault(depth: int) -> None:
    failures = iter([True])
    engine = FailingHarness(
        lambda rows: max(rows.values()) >= 12 and next(failures, False), depth=depth, max_num_seqs=8
    )
    busy(engine)
    engine.run()
    engine.check_against_alone()
    assert {finished.reason for finished in engine.finished.values()} == {FinishReason.LENGTH}


@DEPTHS
def test_culprits_do_not_add_up_over_good_steps(depth: int) -> None:
    count = 2 * MOST_IN_A_ROW
    poison = {f"r{number}": 13 for number in range(count)}
    engine = FailingHarness(poisoned(**poison), depth=depth, max_num_seqs=2)
    busy(engine, count)
    engine.run_until_given_up()
    engine.check_against_alone()
    assert not engine.gave_up
    assert {finished.reason for finished in engine.finished.values()} == {FinishReason.ERROR}


@DEPTHS
def test_failures_of_nobody_do_not_add_up_over_good_steps(depth: int) -> None:
    crowds = itertools.count(1)
    engine = FailingHarness(lambda rows: len(rows) == 8 and next(crowds) % 3 == 0, depth=depth, max_num_seqs=8)
    busy(engine, 5 * 8)
    engine.run_until_given_up()
    engine.check_against_alone()
    assert sum(not well for well, _ in engine.worker.story) > MOST_IN_A_ROW
    assert not engine.gave_up
    assert {finished.reason for finished in engine.finished.values()} == {FinishReason.LENGTH}


@DEPTHS
def test_when_every_step_fails_it_gives_up(depth: int) -> None:
    engine = FailingHarness(lambda rows: True, depth=depth, max_num_seqs=16, max_num_batched_tokens=256)
    busy(engine, 16)
    engine.run_until_given_up()
    assert engine.gave_up
    assert len(engine.finished) == MOST_IN_A_ROW
    assert len(engine.worker.story) < 40


@DEPTHS
def test_when_only_company_fails_it_gives_up_too(depth: int) -> None:
    engine = FailingHarness(lambda rows: len(rows) > 3, depth=depth, max_num_seqs=8, max_num_batched_tokens=128)
    busy(engine)
    engine.run_until_given_up()
    assert engine.gave_up
    assert not any(finished.reason is FinishReason.ERROR for finished in engine.finished.values())


@DEPTHS
def test_who_retries_a_poisoned_prompt_does_not_end_the_engine(depth: int) -> None:
    engine = FailingHarness(lambda rows: True, depth=depth, max_num_seqs=4)
    for number in range(3 * MOST_IN_A_ROW):
        engine.add(f"retry{number}", [1, 2, 3], max_tokens=4)
    engine.run_until_given_up()
    assert not engine.gave_up
    assert len(engine.finished) == 3 * MOST_IN_A_ROW
    for number in range(MOST_IN_A_ROW - 1):  # the first of as many different ones has failed
        assert not engine.gave_up
        engine.add(f"other{number}", [1, 2, 4 + number], max_tokens=4)
        engine.run_until_given_up()
    assert engine.gave_up


@DEPTHS
def test_who_leaves_with_the_culprit_in_flight_is_not_convicted_in_its_stead(depth: int) -> None:
    engine = FailingHarness(poisoned(r1=12), depth=depth, max_num_seqs=2, max_num_batched_tokens=64)
    busy(engine, 2)
    while all(well for well, _ in engine.worker.story):
        engine.step() if engine.inflight else engine.plan()
    engine.abort("r1")
    engine.run()
    engine.check_against_alone()
    assert engine.finished["r0"].reason is FinishReason.LENGTH


@DEPTHS
def test_poisoned_requests_that_leave_do_not_end_the_engine(depth: int) -> None:
    engine = FailingHarness(lambda rows: True, depth=depth, max_num_seqs=2)
    for number in range(2 * MOST_IN_A_ROW):
        engine.add(f"r{number}", [1, 2, number], max_tokens=4)
        engine.plan()
        engine.abort(f"r{number}")
        engine.run_until_given_up()
        assert not engine.gave_up


@DEPTHS
@pytest.mark.parametrize("seed", range(20))
def test_random_poison_aborts_and_arrivals(seed: int, depth: int) -> None:
    rng = random.Random(seed)
    poison = {f"r{number}": rng.randrange(5, 30) for number in rng.sample(range(12), 3)}
    engine = FailingHarness(
        poisoned(**poison),
        depth=depth,
        num_blocks=rng.choice([20, 40, 200]),
        max_num_seqs=rng.choice([2, 5, 12]),
        max_num_batched_tokens=rng.choice([16, 64]),
    )
    waiting = [f"r{number}" for number in range(12)]
    while waiting or engine.scheduler.has_unfinished_requests():
        if waiting and rng.random() < 0.4:
            name = waiting.pop(0)
            engine.add(name, [rng.choice([1, 2]) for _ in range(rng.randrange(1, 20))], max_tokens=rng.randrange(1, 15))
        if engine.requests and rng.random() < 0.05:
            engine.abort(rng.choice(list(engine.requests)))
        engine.step()
        assert not engine.gave_up
    engine.check_against_alone()
    for name, finished in engine.finished.items():
        assert (finished.reason is not FinishReason.ERROR) or name in poison
    assert engine.scheduler.stats().kv_cache_usage == 0
