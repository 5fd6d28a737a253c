"""Memory that runs out in mid-stream loses no request: steps shrink, and what ran is computed anew."""

from __future__ import annotations

import pytest
import torch

from core.tests.generation.conftest import NewLLM
from core.tests.generation.mixed_requests import essence, mixed_requests
from vllm import LLM, SamplingParams
from vllm.sampling.penalties import PenaltyTables

TIGHT = {"worker_cls": "core.tests.generation.tight_worker.TightWorker"}


@pytest.mark.parametrize("async_scheduling", [False, True], ids=["sync", "async"])
def test_steps_shrink_until_they_fit_and_outputs_stay_the_same(
    new_llm: NewLLM, llm: LLM, async_scheduling: bool
) -> None:
    prompts, params = mixed_requests(16)
    tight = new_llm(**TIGHT, additional_config={"room_tokens": 20}, async_scheduling=async_scheduling, max_num_seqs=16)
    found = tight.generate(prompts, params, use_tqdm=False)
    assert [essence(output) for output in found] == [essence(o) for o in llm.generate(prompts, params, use_tqdm=False)]
    assert tight.llm_engine._core.stats().num_preemptions > 0
    assert sum(output.metrics.num_preemptions for output in found if output.metrics) > 0


def test_memory_that_runs_out_before_the_forward_loses_no_request(
    new_llm: NewLLM, llm: LLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables grow when a request of a new kind arrives."""
    grow, fails = PenaltyTables._grow, [True]

    def grow_or_fail(tables: PenaltyTables) -> None:
        if fails and fails.pop():
            raise torch.OutOfMemoryError("the test's device is full")
        grow(tables)

    params = SamplingParams(temperature=0.0, max_tokens=8, frequency_penalty=0.5, ignore_eos=True)
    (expected,) = llm.generate("Count: 1 2 3", params, use_tqdm=False)
    monkeypatch.setattr(PenaltyTables, "_grow", grow_or_fail)
    (found,) = new_llm(max_num_seqs=4).generate("Count: 1 2 3", params, use_tqdm=False)
    assert not fails and found.outputs[0].token_ids == expected.outputs[0].token_ids


def test_a_request_that_never_fits_ends_with_an_error_and_the_engine_goes_on(new_llm: NewLLM) -> None:
    llm = new_llm(**TIGHT, additional_config={"room_tokens": 0}, max_num_seqs=4)
    outputs = llm.generate(["Count: 1 2 3", "Count: 4 5 6"], SamplingParams(max_tokens=4), use_tqdm=False)
    assert [output.outputs[0].finish_reason for output in outputs] == ["error", "error"]
    assert llm.llm_engine._core.stats().kv_cache_usage == 0.0
    assert not llm.llm_engine.has_unfinished_requests()


def test_without_chunks_a_prompt_that_does_not_fit_ends_alone(new_llm: NewLLM) -> None:
    llm = new_llm(**TIGHT, additional_config={"room_tokens": 40}, enable_chunked_prefill=False, max_num_seqs=1)
    long, short = llm.generate([[5] * 100, [5] * 10], SamplingParams(max_tokens=4, ignore_eos=True), use_tqdm=False)
    assert (long.outputs[0].finish_reason, short.outputs[0].finish_reason) == ("error", "length")
