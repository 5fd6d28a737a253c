"""The first law: what a request gets does not depend on who runs beside it, on chunking, caching, preemption or planning ahead."""

from __future__ import annotations

import json

import pytest

from core.tests.generation.conftest import NewLLM
from core.tests.generation.mixed_requests import essence, mixed_requests
from vllm import RequestOutput


@pytest.fixture(scope="module")
def alone() -> list[RequestOutput]:
    """Every request by itself, its prompt whole, without a prefix cache."""
    from vllm import LLM

    llm = LLM(
        dtype="float32", max_model_len=320, max_num_seqs=2, max_num_batched_tokens=320, enable_prefix_caching=False
    )
    prompts, params = mixed_requests()
    outputs = [llm.generate(prompt, each, use_tqdm=False)[0] for prompt, each in zip(prompts, params, strict=True)]
    llm.shutdown()
    return outputs


@pytest.mark.parametrize("async_scheduling", [False, True], ids=["sync", "async"])
def test_batched_chunked_and_preempted_equals_alone(
    new_llm: NewLLM, alone: list[RequestOutput], async_scheduling: bool
) -> None:
    """64 mixed requests in steps of 64 tokens with 21 blocks for what wants several hundred: over 50 preemptions."""
    llm = new_llm(
        max_num_seqs=64, max_num_batched_tokens=64, num_gpu_blocks_override=21, async_scheduling=async_scheduling
    )
    prompts, params = mixed_requests()
    together = llm.generate(prompts, params, use_tqdm=False)
    stats = llm.llm_engine._core.stats()
    assert stats.num_preemptions >= 50
    assert [essence(output) for output in together] == [essence(output) for output in alone]
    assert stats.kv_cache_usage == 0.0, "every block is free again"


def test_a_cache_hit_equals_a_miss(new_llm: NewLLM, alone: list[RequestOutput]) -> None:
    llm = new_llm(max_num_seqs=16)
    prompts, params = mixed_requests()
    first = llm.generate(prompts, params, use_tqdm=False)
    again = llm.generate(prompts, params, use_tqdm=False)
    assert sum(output.num_cached_tokens or 0 for output in again) > sum(
        output.num_cached_tokens or 0 for output in first
    )
    assert [essence(output) for output in again] == [essence(output) for output in alone]


def test_json_is_json(alone: list[RequestOutput]) -> None:
    """The outputs that the law compares are worth comparing: the grammar held wherever the output had room to end."""
    ended = [o for o in (alone[i].outputs[0] for i in range(4, 64, 8)) if o.finish_reason == "stop"]
    assert ended
    for output in ended:
        assert {"name", "age"} <= set(json.loads(output.text))


def test_log_probabilities_do_not_depend_on_the_batch(new_llm: NewLLM, alone: list[RequestOutput]) -> None:
    llm = new_llm(max_num_seqs=64, max_num_batched_tokens=64, num_gpu_blocks_override=30)
    prompts, params = mixed_requests()
    for index, (one, many) in enumerate(zip(alone, llm.generate(prompts, params, use_tqdm=False), strict=True)):
        if index % 8 == 5:
            _assert_close(one.outputs[0].logprobs, many.outputs[0].logprobs)
        if index % 8 == 6:
            assert one.prompt_logprobs is not None and many.prompt_logprobs is not None
            assert len(one.prompt_logprobs) == len(one.prompt_token_ids or ())
            _assert_close(one.prompt_logprobs[1:], many.prompt_logprobs[1:])


def _assert_close(one: object, many: object) -> None:
    for a, b in zip(one, many, strict=True):  # type: ignore[call-overload]
        common = a.keys() & b.keys()
        assert common, "the sampled token itself is in both"
        for token_id in common:
            assert a[token_id].logprob == pytest.approx(b[token_id].logprob, abs=1e-4)
