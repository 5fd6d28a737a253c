"""What the plans hold, by hand: budget, chunks, blocks, slots, preemption, priorities, prefix hits. Blocks hold 4 tokens."""

from __future__ import annotations

import pytest

from core.tests.engine.harness import Harness
from vllm.messages import StepPlan
from vllm.sampling_params import StructuredOutputsParams


def rows(plan: StepPlan | None) -> list[tuple[int, int, int, bool]]:
    """(slot, computed, scheduled, samples) of each row."""
    assert plan is not None
    arrays = (plan.slots_N, plan.num_computed_N, plan.num_scheduled_N, plan.samples_N)
    return list(zip(*(array.tolist() for array in arrays), strict=True))


def appended(plan: StepPlan | None) -> list[tuple[int, int, int]]:
    """(slot, column, block) of each appended block."""
    assert plan is not None
    arrays = (plan.appended_slots_A, plan.appended_index_A, plan.appended_block_ids_A)
    return list(zip(*(array.tolist() for array in arrays), strict=True))


def test_nothing_to_do():
    engine = Harness()
    assert engine.plan() is None
    assert not engine.scheduler.has_unfinished_requests()
    assert engine.scheduler.drain_finished() is None


def test_a_request_from_prompt_to_end():
    engine = Harness()
    engine.add("a", [1, 2, 3], max_tokens=3)
    plan = engine.plan()
    assert rows(plan) == [(0, 0, 3, True)]
    (new,) = plan.new
    assert (new.slot, new.request_id, new.token_ids.tolist(), new.num_computed_tokens) == (0, "a", [1, 2, 3], 0)
    assert (new.block_ids.tolist(), new.num_prompt_tokens, new.max_tokens) == ([1], 3, 3)
    engine.take()
    plan = engine.plan()
    assert (rows(plan), appended(plan), plan.new) == ([(0, 3, 1, True)], [], ())  # position 3 is in the block still
    engine.take()
    plan = engine.plan()
    assert (rows(plan), appended(plan)) == ([(0, 4, 1, True)], [(0, 1, 2)])  # position 4 begins the second
    output = engine.take()
    assert [finished.request_id for finished in output.finished] == ["a"]
    assert not engine.scheduler.has_unfinished_requests()
    engine.add("b", [1], max_tokens=1)
    assert engine.plan().freed_slots.tolist() == [0]


def test_decodes_come_first_then_chunks_fill_the_budget():
    engine = Harness(max_num_batched_tokens=8)
    engine.add("a", [1, 2])
    engine.add("b", range(3, 16), max_tokens=2)
    assert rows(engine.plan()) == [(0, 0, 2, True), (1, 0, 6, False)]
    engine.take()
    assert rows(engine.plan()) == [(0, 2, 1, True), (1, 6, 7, True)]
    engine.take()
    assert rows(engine.plan()) == [(0, 3, 1, True), (1, 13, 1, True)]


def test_long_prompts_leave_room_for_short_ones():
    engine = Harness(long_prefill_token_threshold=5)
    engine.add("long", range(1, 13))
    engine.add("short", [1, 2])
    assert rows(engine.plan()) == [(0, 0, 5, False), (1, 0, 2, True)]
    engine.take()
    assert rows(engine.plan()) == [(1, 2, 1, True), (0, 5, 5, False)]


def test_without_chunking_a_prompt_goes_whole_or_waits():
    engine = Harness(enable_chunked_prefill=False, max_model_len=16, long_prefill_token_threshold=2)
    engine.add("a", range(1, 11))
    engine.add("b", range(21, 28))
    assert rows(engine.plan()) == [(0, 0, 10, True)]
    engine.take()
    assert rows(engine.plan()) == [(0, 10, 1, True), (1, 0, 7, True)]


def test_more_requests_than_slots_wait_in_order():
    engine = Harness(max_num_seqs=2)
    for name in "abc":
        engine.add(name, [1], max_tokens=2 if name == "a" else 3)
    engine.step()
    assert engine.scheduler.stats().num_waiting == 1
    engine.step()
    plan = engine.plan()
    assert [new.request_id for new in plan.new] == ["c"]
    assert (plan.freed_slots.tolist(), plan.new[0].slot) == ([0], 0)


def test_more_decodes_than_budget():
    """The oldest go on; the others wait and lose nothing."""
    engine = Harness(max_num_batched_tokens=2, max_num_seqs=3)
    for name in "abc":
        engine.add(name, [1], max_tokens=3)
    assert len(rows(engine.plan())) == 2
    engine.take()
    assert [slot for slot, *_ in rows(engine.plan())] == [0, 1]
    engine.take()
    engine.run()
    engine.check_against_alone()


def test_the_latest_is_preempted_and_comes_back_with_its_outputs():
    """Two requests in 3 blocks: both fill their first, one more block for each is one too many."""
    engine = Harness(num_blocks=4, cache={"enable_prefix_caching": False})
    engine.add("a", [1, 2, 3, 4], max_tokens=6)
    engine.add("b", [5, 6, 7], max_tokens=6)
    engine.step()
    assert appended(engine.plan()) == [(0, 1, 3)]  # a: position 4
    engine.take()
    plan = engine.plan()  # b: position 4 would need a fourth block
    assert (rows(plan), plan.freed_slots.tolist()) == ([(0, 5, 1, True)], [1])
    assert engine.scheduler.stats().num_preemptions == 1
    engine.run()
    back = next(new for plan in engine.plans[2:] for new in plan.new)
    assert (back.request_id, len(back.token_ids), back.num_prompt_tokens) == ("b", 5, 3)
    assert (back.num_computed_tokens, back.slot) == (0, 0)
    assert engine.finished["b"].num_preemptions == 1
    engine.check_against_alone()


def test_a_preempted_request_finds_its_own_blocks():
    """b held blocks 3, 4 and 5. a takes 5, which was not full, then 4, the end of b's prompt; 3 is found again."""
    engine = Harness(num_blocks=6)
    engine.add("a", range(1, 8), max_tokens=8)
    engine.add("b", range(11, 19), max_tokens=6)
    engine.run()
    (back,) = [new for plan in engine.plans for new in plan.new if len(new.token_ids) > new.num_prompt_tokens]
    assert (back.request_id, len(back.token_ids), back.num_computed_tokens) == ("b", 10, 4)
    assert back.block_ids[0] == 3
    assert engine.finished["b"].num_cached_tokens == 0  # what counts is the first scheduling
    engine.check_against_alone()


def test_priority_decides_who_runs_and_who_is_preempted():
    engine = Harness(policy="priority", num_blocks=4, max_num_seqs=2, cache={"enable_prefix_caching": False})
    engine.add("late", [1, 2, 3], priority=1, arrival_time_s=1.0, max_tokens=6)
    engine.add("first", [4, 5, 6, 7], priority=0, arrival_time_s=3.0, max_tokens=6)
    engine.add("early", [8], priority=1, arrival_time_s=0.5, max_tokens=6)
    plan = engine.plan()
    assert [new.request_id for new in plan.new] == ["first", "early"]
    engine.take()
    engine.run()
    assert next(iter(engine.finished)) == "first"
    assert engine.finished["first"].num_preemptions == 0
    engine.check_against_alone()


def test_fcfs_ignores_priorities():
    engine = Harness(max_num_seqs=1)
    engine.add("a", [1], priority=5)
    engine.add("b", [1], priority=0)
    assert [new.request_id for new in engine.plan().new] == ["a"]


def test_watermark_keeps_blocks_free_for_those_that_run():
    engine = Harness(num_blocks=11, cache={"watermark": 0.5})
    engine.add("a", range(1, 13))  # 3 of 10 blocks; alone, the watermark does not count
    engine.add("b", range(21, 33))  # would leave 4, fewer than 5
    assert [new.request_id for new in engine.plan().new] == ["a"]
    engine.take()
    assert engine.plan().new == ()


def test_prefix_hit_skips_what_is_cached():
    engine = Harness()
    engine.add("a", range(1, 11), max_tokens=1)
    engine.run()
    engine.add("b", [*range(1, 9), 30, 31], max_tokens=1)
    plan = engine.plan()
    assert rows(plan) == [(0, 8, 2, True)]
    assert plan.new[0].block_ids.tolist()[:2] == [1, 2]
    engine.take()
    stats = engine.scheduler.stats()
    assert (stats.prefix_cache_queries, stats.prefix_cache_hits, stats.prompt_tokens) == (20, 8, 20)
    assert engine.finished["b"].num_cached_tokens == 8


def test_a_prompt_found_whole_computes_its_last_block():
    engine = Harness()
    for name in "ab":
        engine.add(name, range(1, 9), max_tokens=1)
        engine.run()
    assert rows(engine.plans[1]) == [(0, 4, 4, True)]
    engine.check_against_alone()


def test_requests_of_one_step_share_their_prompt():
    """A step writes all keys before it reads any: n outputs of one prompt cost one prefill."""
    engine = Harness()
    for name in "abc":
        engine.add(name, range(1, 10), max_tokens=2)
    assert rows(engine.plan()) == [(0, 0, 9, True), (1, 8, 1, True), (2, 8, 1, True)]
    engine.take()
    engine.run()
    engine.check_against_alone()


def test_outputs_are_cached_too():
    engine = Harness()
    first = engine.add("a", [1, 2, 3], max_tokens=6)
    engine.run()
    outputs = engine.finished["a"].output_token_ids.tolist()
    engine.add("b", [*first.prompt_token_ids.tolist(), *outputs, 1], max_tokens=1)
    assert rows(engine.plan()) == [(0, 8, 2, True)]


@pytest.mark.parametrize(
    "second", [{"cache_salt": "x"}, {"prompt_logprobs": 0}, {"skip_reading_prefix_cache": True}], ids=str
)
def test_no_hit_where_none_may_be(second):
    engine = Harness()
    engine.add("a", range(1, 10), max_tokens=1)
    engine.run()
    engine.add("b", range(1, 10), max_tokens=1, **second)
    assert rows(engine.plan()) == [(0, 0, 9, True)]


def test_prefix_caching_off_and_reset():
    engine = Harness(cache={"enable_prefix_caching": False})
    cached = Harness()
    for harness in (engine, cached):
        harness.add("a", range(1, 10), max_tokens=2)
        harness.step()
        assert not harness.scheduler.reset_prefix_cache()
        harness.run()
    assert cached.scheduler.reset_prefix_cache()
    for harness in (engine, cached):
        harness.add("b", range(1, 10), max_tokens=1)
        assert rows(harness.plan()) == [(0, 0, 9, True)]


def test_grammar_rows_are_named_when_they_sample():
    engine = Harness(max_num_batched_tokens=8)
    engine.add("plain", [1], max_tokens=4)
    engine.add("json", range(1, 10), max_tokens=3, structured_outputs=StructuredOutputsParams(json_object=True))
    assert engine.plan().grammar_rows_G.tolist() == []  # its prompt is not through
    engine.take()
    for _ in range(3):
        plan = engine.plan()
        assert plan.grammar_rows_G.tolist() == [1]
        assert engine.scheduler.request_of_slot(1) == "json"
        engine.take()
    assert engine.scheduler.request_of_slot(1) is None


def test_an_abort_frees_everything():
    engine = Harness()
    engine.add("waits", [1])
    engine.abort("waits", "nobody")
    assert engine.scheduler.has_unfinished_requests()
    assert engine.step().finished[0].reason.value == "abort"
    engine.add("runs", range(1, 10))
    engine.step()
    engine.abort("runs")
    engine.run()
    assert engine.scheduler.stats().kv_cache_usage == 0
    assert len(engine.finished["runs"].output_token_ids) == 1


def test_plans_do_not_change_after_they_were_made():
    engine = Harness(depth=2)
    engine.add("a", [1], max_tokens=2)
    engine.add("b", [2], max_tokens=9)
    first, second = engine.plan(), engine.plan()
    before = rows(first), rows(second)
    engine.run()
    assert before == (rows(first), rows(second))
