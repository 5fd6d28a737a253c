"""Two steps in flight: what is planned ahead, and what happens to results that come too late."""

from __future__ import annotations

import pytest

from core.tests.engine.fake_model import generate_alone
from core.tests.engine.harness import Harness, make_request
from core.tests.engine.test_scheduler_plans import rows
from vllm.messages import FinishReason
from vllm.sampling_params import StructuredOutputsParams


def test_a_decode_is_planned_before_its_token_is_known():
    engine = Harness(depth=2)
    engine.add("a", [1, 2], max_tokens=4)
    assert rows(engine.plan()) == [(0, 0, 2, True)]
    assert rows(engine.plan()) == [(0, 2, 1, True)]
    assert engine.plan() is None  # two are in flight
    engine.take()
    assert rows(engine.plan()) == [(0, 3, 1, True)]


def test_the_length_is_known_ahead():
    """The step in flight gives the last token: no step is wasted."""
    engine = Harness(depth=2)
    engine.add("a", [1, 2], max_tokens=2)
    engine.plan()
    engine.plan()
    engine.take()
    assert engine.plan() is None
    engine.take()
    assert not engine.scheduler.has_unfinished_requests()
    assert len(engine.plans) == 2


def test_a_chunk_follows_a_chunk_in_flight():
    engine = Harness(depth=2, max_num_batched_tokens=4)
    engine.add("a", range(1, 8))
    assert rows(engine.plan()) == [(0, 0, 4, False)]
    assert rows(engine.plan()) == [(0, 4, 3, True)]


def _stopped_with_a_step_in_flight() -> Harness:
    """A request that stops at its first token while the second is being computed."""
    token = generate_alone(make_request("a", [1, 2, 3]))[0][0]
    engine = Harness(depth=2, max_num_seqs=1)
    engine.add("a", [1, 2, 3], max_tokens=8, stop=(token,))
    engine.plan()
    engine.plan()
    return engine


def test_a_token_after_the_stop_is_discarded():
    engine = _stopped_with_a_step_in_flight()
    output = engine.take()
    assert output.finished[0].reason is FinishReason.STOP
    assert engine.scheduler.request_of_slot(0) is None
    late = engine.take()
    assert (late.tokens, late.finished) == (None, ())
    engine.check_against_alone()
    assert engine.scheduler.stats().generation_tokens == 1


def test_slot_and_blocks_stay_until_the_last_answer():
    engine = _stopped_with_a_step_in_flight()
    engine.add("b", [4], max_tokens=1)
    engine.take()
    assert engine.scheduler.stats().kv_cache_usage > 0
    assert engine.plan() is None  # b waits for a's slot, which a step in flight may still write to
    engine.take()
    assert engine.scheduler.stats().kv_cache_usage == 0
    plan = engine.plan()
    assert (plan.freed_slots.tolist(), plan.new[0].request_id) == ([0], "b")


def test_a_grammar_row_is_never_twice_in_flight():
    engine = Harness(depth=2)
    engine.add("json", [1], max_tokens=3, structured_outputs=StructuredOutputsParams(json_object=True))
    engine.add("plain", [2], max_tokens=3)
    assert [slot for slot, *_ in rows(engine.plan())] == [0, 1]
    assert [slot for slot, *_ in rows(engine.plan())] == [1]
    engine.take()
    assert [slot for slot, *_ in rows(engine.plan())] == [0, 1]


def test_an_abort_in_flight_is_told_once():
    engine = Harness(depth=2)
    engine.add("a", [1], max_tokens=8)
    engine.plan()
    engine.plan()
    engine.abort("a")
    engine.add("a", [1], max_tokens=2)  # the id is free again
    output = engine.take()
    assert [finished.reason for finished in output.finished] == [FinishReason.ABORT]
    assert output.tokens is None
    del engine.finished["a"]
    engine.run()
    assert len(engine.finished["a"].output_token_ids) == 2


def test_preemption_waits_for_the_steps_in_flight():
    """A victim's blocks are not given away while a step may write to them."""
    engine = Harness(depth=2, num_blocks=4, cache={"enable_prefix_caching": False})
    engine.add("a", [1, 2, 3, 4], max_tokens=6)
    engine.add("b", [5, 6, 7], max_tokens=6)
    engine.plan()
    engine.plan()
    engine.take()
    assert engine.plan() is None
    engine.take()
    assert rows(engine.plan()) == [(0, 5, 1, True)]
    assert engine.scheduler.stats().num_preemptions == 1
    engine.run()
    engine.check_against_alone()


def test_uneven_results_need_one_step_at_a_time():
    engine = Harness(depth=2, uneven=True)
    engine.add("a", [1], max_tokens=8)
    engine.add("b", [2], max_tokens=8)
    engine.plan()
    with pytest.raises(AssertionError, match="max_inflight_steps=1"):
        engine.take()
