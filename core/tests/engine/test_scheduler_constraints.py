"""The platform's scheduling constraints, one by one. Blocks hold 4 tokens."""

from __future__ import annotations

import pytest

from core.tests.engine.harness import Harness
from core.tests.engine.test_scheduler_plans import rows
from vllm.errors import ConfigError, InvalidRequestError
from vllm.platforms.constraints import SchedulingConstraints


def engine_with(**constraints: object) -> Harness:
    return Harness(constraints=SchedulingConstraints(**constraints))


def test_one_prompt_at_a_time():
    engine = engine_with(max_concurrent_prefills=1)
    engine.add("a", range(1, 19))
    engine.add("b", [21])
    assert rows(engine.plan()) == [(0, 0, 16, False)]
    engine.take()
    assert rows(engine.plan()) == [(0, 16, 2, True)]  # a's prompt is still being computed
    engine.take()
    assert rows(engine.plan()) == [(0, 18, 1, True), (1, 0, 1, True)]


def test_chunks_of_fixed_length():
    """A chunk is never cut to the budget that is left: it waits for the next step."""
    engine = engine_with(prefill_chunk_tokens=6)
    engine.add("a", range(1, 9))
    engine.add("b", range(21, 28))
    engine.add("c", range(31, 37))
    assert rows(engine.plan()) == [(0, 0, 6, False), (1, 0, 6, False)]
    engine.take()
    assert rows(engine.plan()) == [(0, 6, 2, True), (1, 6, 1, True), (2, 0, 6, True)]


def test_prefill_and_decode_apart():
    engine = engine_with(mixes_prefill_and_decode=False)
    engine.add("a", [1])
    engine.step()
    engine.add("b", [2, 3])
    assert rows(engine.plan()) == [(1, 0, 2, True)]
    engine.take()
    assert [slot for slot, *_ in rows(engine.plan())] == [0, 1]


def test_decodes_have_their_turn_between_prompts():
    engine = engine_with(mixes_prefill_and_decode=False, decode_steps_between_prefills=2, prefill_chunk_tokens=4)
    engine.add("a", [1], max_tokens=9)
    engine.step()
    engine.add("b", range(1, 9), max_tokens=2)
    kinds = []
    for _ in range(7):
        kinds.append([count for _, _, count, _ in rows(engine.plan())])
        engine.take()
    assert kinds == [[1], [1], [4], [1], [1], [4], [1, 1]]
    engine.run()
    engine.check_against_alone()


def test_no_decode_waits_no_turn_is_kept():
    """With nothing to decode, prompts follow each other at once."""
    engine = engine_with(mixes_prefill_and_decode=False, decode_steps_between_prefills=5, prefill_chunk_tokens=4)
    engine.add("a", range(1, 9))
    assert rows(engine.plan()) == [(0, 0, 4, False)]
    engine.take()
    assert rows(engine.plan()) == [(0, 4, 4, True)]


def test_the_largest_decode_bucket_caps_the_batch():
    engine = engine_with(decode_batch_buckets=(1, 2))
    for name in "abc":
        engine.add(name, [1])
    assert len(rows(engine.plan())) == 2
    engine.take()
    assert engine.scheduler.stats().num_waiting == 1
    engine.run()
    engine.check_against_alone()


def test_the_largest_token_bucket_caps_a_step_with_prefill():
    engine = engine_with(token_buckets=(4, 8))
    engine.add("a", [1])
    engine.step()
    engine.add("b", range(1, 13))
    assert rows(engine.plan()) == [(0, 1, 1, True), (1, 0, 7, False)]


def test_rows_times_context_stay_within_the_budget():
    """a grows to 12 tokens, 3 blocks. Two rows of 12 are 24; a row of 16 would make them 32."""
    engine = engine_with(max_batch_context_tokens=24)
    engine.add("a", range(1, 9), max_tokens=4)
    engine.add("b", range(21, 33), max_tokens=4)
    engine.add("c", [41], max_tokens=4)
    assert [new.request_id for new in engine.plan().new] == ["a"]  # c does not overtake b
    engine.take()
    engine.run()
    assert [new.request_id for plan in engine.plans for new in plan.new] == ["a", "b", "c"]


def test_padding_to_a_bucket_counts_against_the_context_budget():
    """Three rows are padded to four: 4 × 8 > 24."""
    engine = engine_with(max_batch_context_tokens=24, decode_batch_buckets=(1, 2, 4))
    for name in "abc":
        engine.add(name, [1, 2, 3, 4], max_tokens=4)
    assert len(engine.plan().new) == 2


def test_a_request_past_the_context_budget_is_refused():
    engine = engine_with(max_batch_context_tokens=24)
    with pytest.raises(InvalidRequestError, match="25 tokens is more than this platform's budget of 24"):
        engine.add("a", range(1, 20), max_tokens=6)


def test_the_platform_s_longest_context():
    engine = engine_with(max_model_len=8)
    with pytest.raises(InvalidRequestError, match="context of 8 tokens"):
        engine.add("a", range(1, 6), max_tokens=4)


@pytest.mark.parametrize(
    "constraints,lesson",
    [
        ({"prefill_chunk_tokens": 32}, "pieces of 32"),
        ({"prefill_chunk_tokens": 16, "token_buckets": (8,)}, "at most 8 tokens"),
        ({"block_size_multiple": 64}, "block_size=4 is not a multiple of 64"),
    ],
)
def test_impossible_constraints_are_refused_at_start(constraints, lesson):
    with pytest.raises(ConfigError, match=lesson):
        engine_with(**constraints)


def test_a_prompt_waits_while_decodes_of_several_tokens_fill_more_than_the_largest_token_bucket():
    """The bucket bounds steps with a prompt in them; decodes alone may be more."""
    engine = Harness(constraints=SchedulingConstraints(token_buckets=(4,)), uneven=True)
    for index in range(3):
        engine.add(f"r{index}", [index + 1], max_tokens=20)
    engine.add("long", range(1, 25), max_tokens=2)
    engine.run()
    assert max(plan.total_tokens for plan in engine.plans) > 4
    assert all(plan.num_scheduled_N.min() >= 1 for plan in engine.plans)
    engine.check_against_alone()
