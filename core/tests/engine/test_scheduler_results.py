"""What comes out: ends and their reasons, streams, log-probabilities, times and numbers."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from core.tests.engine.fake_model import generate_alone
from core.tests.engine.harness import Harness, make_request
from vllm.engine.scheduler.repetition import ends_in_repetition
from vllm.messages import Delivery, FinishReason, PromptLogprobs, SampledLogprobs, StepOutput, StepPlan
from vllm.sampling_params import RepetitionDetectionParams

PROMPT = [1, 2, 2]
OUTPUTS = generate_alone(make_request("a", PROMPT, 8))[0]


def run_one(**kwargs: object) -> Harness:
    engine = Harness()
    engine.add("a", PROMPT, **{"max_tokens": 8, **kwargs})
    engine.run()
    engine.check_against_alone()
    return engine


def test_the_model_s_outputs_are_all_different():
    """The tests below count on it."""
    assert len(set(OUTPUTS)) == 8


@pytest.mark.parametrize("nth", [0, 3, 7])
def test_a_stop_token_ends_the_output_and_is_named(nth):
    finished = run_one(stop=(OUTPUTS[nth],)).finished["a"]
    assert finished.output_token_ids.tolist() == OUTPUTS[: nth + 1]
    assert (finished.reason, finished.stop_reason) == (FinishReason.STOP, OUTPUTS[nth])


def test_eos_is_not_named():
    finished = run_one(eos=(OUTPUTS[2],), stop=(99,)).finished["a"]
    assert (finished.reason, finished.stop_reason) == (FinishReason.STOP, None)
    assert len(finished.output_token_ids) == 3


def test_no_stop_before_min_tokens():
    stops = (OUTPUTS[1], OUTPUTS[4])
    assert len(run_one(stop=stops, min_tokens=3).finished["a"].output_token_ids) == 5
    assert len(run_one(stop=stops, min_tokens=2).finished["a"].output_token_ids) == 2


def test_more_stop_ids_than_the_arrays_hold():
    many = (*range(100, 120), OUTPUTS[3])
    finished = run_one(stop=many).finished["a"]
    assert (finished.stop_reason, len(finished.output_token_ids)) == (OUTPUTS[3], 4)
    assert len(run_one(stop=many, min_tokens=5).finished["a"].output_token_ids) == 8


def test_length():
    finished = run_one().finished["a"]
    assert (finished.reason, finished.output_token_ids.tolist()) == (FinishReason.LENGTH, OUTPUTS)


@pytest.mark.parametrize(
    "outputs,params,expected",
    [
        ([5, 5], {"max_pattern_size": 1}, True),
        ([5, 6], {"max_pattern_size": 1}, False),
        ([1, 2, 1, 2], {"max_pattern_size": 2}, True),
        ([1, 2, 1, 2], {"max_pattern_size": 1}, False),
        ([1, 2, 1, 2], {"max_pattern_size": 2, "min_count": 3}, False),
        ([0, 1, 2, 1, 2, 1, 2], {"max_pattern_size": 5, "min_count": 3}, True),
        ([4, 4, 4], {"max_pattern_size": 3, "min_pattern_size": 2}, False),
        ([4, 4, 4, 4], {"max_pattern_size": 3, "min_pattern_size": 2}, True),
        ([], {"max_pattern_size": 3}, False),
    ],
)
def test_repetition_by_hand(outputs, params, expected):
    assert ends_in_repetition(np.array(outputs, np.int32), RepetitionDetectionParams(**params)) is expected


def test_repetition_ends_a_request_after_min_tokens():
    """A worker that repeats itself, which the fake model would not."""
    engine = Harness()
    detection = RepetitionDetectionParams(max_pattern_size=1, min_count=3)
    engine.add("soon", [1], max_tokens=9, repetition_detection=detection)
    engine.add("later", [1], max_tokens=9, repetition_detection=detection, min_tokens=5)
    while engine.scheduler.has_unfinished_requests():
        plan = engine.scheduler.schedule()
        engine._collect(engine.scheduler.update(plan, constant(plan, 3)))
    assert {len(finished.output_token_ids) for finished in engine.finished.values()} == {3, 5}
    assert {finished.reason for finished in engine.finished.values()} == {FinishReason.REPETITION}


def constant(plan: StepPlan, token: int) -> StepOutput:
    """The same token for every sampling row."""
    slots = plan.slots_N[plan.samples_N]
    ones = np.ones(len(slots), np.int32)
    return StepOutput(step=plan.step, slots_N=slots, counts_N=ones, token_ids_M=ones * token)


def test_streamed_tokens_carry_names_and_cached_counts():
    engine = Harness()
    engine.add("old", range(1, 10), max_tokens=1)
    engine.run()
    engine.add("new", range(1, 10), max_tokens=2)
    engine.add("silent", [5], max_tokens=2, delivery=Delivery.AT_FINISH)
    tokens = engine.step().tokens
    assert tokens.request_ids == ["new"]
    assert (tokens.counts_R.tolist(), tokens.num_cached_tokens_R.tolist()) == ([1], [8])
    engine.run()
    engine.check_against_alone()
    assert "silent" not in engine.streamed


def test_nothing_is_streamed_where_nobody_wants_it():
    engine = Harness()
    engine.add("silent", [5], max_tokens=2, delivery=Delivery.AT_FINISH)
    assert engine.step().tokens is None


def with_logprobs(output: StepOutput, rows: list[int]) -> StepOutput:
    """Log-probabilities for some tokens of the step: token, -token / 10, rank 1."""
    chosen = output.token_ids_M[rows]
    logprobs = SampledLogprobs(
        rows_R=np.array(rows, np.int32),
        token_ids_RK=np.stack([chosen, chosen + 1], axis=1),
        logprobs_RK=np.stack([chosen, chosen], axis=1).astype(np.float32) / -10,
        sampled_rank_R=np.ones(len(rows), np.int32),
        num_R=np.full(len(rows), 2, np.int32),
    )
    return replace(output, logprobs=logprobs)


def test_logprobs_find_their_way():
    """Rows: silent without, silent with, streaming with. The streamed row is renumbered; the silent one's come at its end."""
    engine = Harness()
    engine.add("plain", [1], max_tokens=2, delivery=Delivery.AT_FINISH)
    engine.add("kept", [2], max_tokens=2, logprobs=1, delivery=Delivery.AT_FINISH)
    engine.add("streams", [3], max_tokens=2, logprobs=1)
    kept: list[int] = []
    for _ in range(2):
        plan = engine.scheduler.schedule()
        result = with_logprobs(engine.worker.run(plan), [1, 2])
        kept.append(int(result.token_ids_M[1]))
        output = engine.scheduler.update(plan, result)
        assert output.tokens.request_ids == ["streams"]
        assert output.tokens.logprobs.rows_R.tolist() == [0]
        assert output.tokens.logprobs.token_ids_RK[0, 0] == output.tokens.token_ids_M[0] == result.token_ids_M[2]
    ((name, logprobs),) = output.finished_logprobs
    assert (name, logprobs.rows_R.tolist()) == ("kept", [0, 1])
    assert logprobs.token_ids_RK[:, 0].tolist() == kept
    assert logprobs.logprobs_RK[:, 0] == pytest.approx([-kept[0] / 10, -kept[1] / 10])


def test_prompt_logprobs_are_named_and_not_asked_twice():
    """Delivered for tokens 1 to 3, then preempted: the next slot says that 3 are done."""
    engine = Harness(num_blocks=4, max_num_batched_tokens=8, cache={"enable_prefix_caching": False})
    engine.add("a", [9, 9, 9, 9], max_tokens=6)
    engine.add("b", [1, 2, 3, 4], max_tokens=4, prompt_logprobs=0)
    engine.plan()
    plan, result = engine.inflight.popleft()
    stretch = PromptLogprobs(
        slot=1,
        start=1,
        token_ids_TK=np.array([[2], [3], [4]], np.int32),
        logprobs_TK=np.zeros((3, 1), np.float32),
        rank_T=np.ones(3, np.int32),
    )
    output = engine.scheduler.update(plan, replace(result, prompt_logprobs=(stretch,)))
    assert output.prompt_logprobs == (("b", stretch),)
    engine._collect(output)
    engine.run()
    back = [new for plan in engine.plans for new in plan.new if new.request_id == "b"]
    assert [new.num_prompt_logprobs_done for new in back] == [0, 3]
    engine.check_against_alone()


def test_times_and_numbers():
    before_s = time.monotonic()
    engine = Harness()
    engine.add("a", PROMPT, max_tokens=3)
    engine.step()
    stats = engine.scheduler.stats()
    assert (stats.num_running, stats.num_waiting, stats.kv_cache_usage) == (1, 0, 1 / 32)
    engine.run()
    finished = engine.finished["a"]
    times = (finished.first_scheduled_time_s, finished.first_token_time_s, finished.last_token_time_s)
    assert before_s <= times[0] <= times[1] < times[2] <= time.monotonic()
    assert (engine.scheduler.stats().prompt_tokens, engine.scheduler.stats().generation_tokens) == (3, 3)


def test_an_abort_before_the_start_has_no_times():
    engine = Harness()
    engine.add("a", PROMPT)
    engine.abort("a")
    engine.run()
    finished = engine.finished["a"]
    assert finished.first_scheduled_time_s is None
    assert finished.last_token_time_s is None
    assert finished.output_token_ids.tolist() == []


def test_the_first_token_s_time_outlives_a_preemption():
    engine = Harness(num_blocks=4, cache={"enable_prefix_caching": False})
    engine.add("a", [1, 2, 3, 4], max_tokens=6)
    engine.add("b", [5, 6, 7], max_tokens=6)
    engine.step()
    first_s = time.monotonic()
    engine.run()
    finished = engine.finished["b"]
    assert finished.num_preemptions == 1
    assert finished.first_scheduled_time_s < finished.first_token_time_s <= first_s < finished.last_token_time_s


def test_no_torch():
    """The scheduler's rooms import neither torch nor transformers."""
    import subprocess
    import sys

    code = "import sys, vllm.engine.scheduler.scheduler; print({'torch', 'transformers'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
