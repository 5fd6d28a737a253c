"""What the scheduler refuses, and what it says."""

from __future__ import annotations

import pytest

from core.tests.engine.harness import Harness
from vllm.errors import ConfigError, DuplicateRequestError, InvalidRequestError, QueueFullError


@pytest.mark.parametrize("started", [False, True])
def test_an_id_that_is_alive(started):
    engine = Harness()
    engine.add("a", [1])
    if started:
        engine.step()
    with pytest.raises(DuplicateRequestError, match="'a' is alive"):
        engine.add("a", [2])
    engine.run()
    engine.check_against_alone()


def test_a_request_larger_than_the_cache():
    """3 blocks of 4: 12 keys, so 13 tokens, since the last one's are never needed."""
    engine = Harness(num_blocks=4)
    with pytest.raises(InvalidRequestError) as caught:
        engine.add("big", range(1, 11), max_tokens=4)
    for lesson in ("13 places", "has 12 (3 blocks of 4)", "--gpu-memory-utilization", "--kv-cache-memory-bytes"):
        assert lesson in str(caught.value)
    assert "--num-gpu-blocks-override" in str(caught.value)
    assert "--max-model-len" in str(caught.value)


def test_a_request_that_fills_the_cache_to_the_last_place():
    engine = Harness(num_blocks=4)
    engine.add("a", range(1, 11), max_tokens=3)
    engine.add("b", range(21, 31), max_tokens=3)
    engine.run()
    engine.check_against_alone()
    assert engine.scheduler.stats().num_preemptions == 0


@pytest.mark.parametrize("prompt_tokens,max_tokens", [(60, 5), (64, 1), (1, 0)])
def test_a_request_longer_than_the_context(prompt_tokens, max_tokens):
    from dataclasses import replace

    from core.tests.engine.harness import make_request

    request = replace(make_request("a", [1] * prompt_tokens), max_tokens=max_tokens)
    with pytest.raises(InvalidRequestError, match=f"{prompt_tokens} prompt tokens and max_tokens={max_tokens}"):
        Harness().scheduler.add_request(request)


def test_an_empty_prompt():
    with pytest.raises(InvalidRequestError, match="no token"):
        Harness().add("a", [])


def test_a_full_queue():
    engine = Harness(max_num_seqs=1, max_num_queued_reqs=1)
    engine.add("a", [1])  # for the free slot
    engine.add("b", [1])
    with pytest.raises(QueueFullError, match="2 requests wait already; --max-num-queued-reqs permits 1"):
        engine.add("c", [1])
    engine.step()
    with pytest.raises(QueueFullError, match="1 requests wait already"):
        engine.add("c", [1])
    engine.run()
    engine.add("c", [1])
    engine.add("d", [1])
    engine.run()
    assert engine.finished.keys() == {"a", "b", "c", "d"}


def test_a_queue_full_of_tokens():
    engine = Harness(max_num_queued_tokens=5)
    engine.add("a", [1] * 6)  # nobody waits before it
    with pytest.raises(
        QueueFullError, match="6 prompt tokens wait already, and the request has 1; --max-num-queued-tokens"
    ):
        engine.add("b", [1])
    engine.abort("a")
    engine.add("b", [1] * 3)
    engine.add("c", [1] * 2)
    with pytest.raises(QueueFullError):
        engine.add("d", [1])
    engine.step()
    engine.add("d", [1])
    engine.run()
    assert engine.finished.keys() == {"a", "b", "c", "d"}


def test_impossible_settings():
    with pytest.raises(ConfigError, match="'fifo' is unknown"):
        Harness(policy="fifo")
    with pytest.raises(ConfigError, match="chunked prefill is off"):
        Harness(enable_chunked_prefill=False)
    with pytest.raises(ConfigError, match="is unknown"):
        Harness(cache={"prefix_caching_hash_algo": "md5"})
