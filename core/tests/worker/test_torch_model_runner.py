"""The generation laws of the runner: chunking, company, stale slots, preemption, padding and capture change nothing (fp32)."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from core.tests.worker.driver import BLOCK_SIZE, Driver, Request, start_worker, tiny_config
from core.tests.worker.host_platform import BufferedForward, RecordingAttention
from vllm.sampling_params import SamplingParams
from vllm.worker.kv_cache_spec import NULL_BLOCK
from vllm.worker.torch_worker import TorchWorker

VOCAB_SIZE = 2048


@pytest.fixture(scope="module")
def worker() -> TorchWorker:
    torch.set_num_threads(1)
    return start_worker(tiny_config())


def prompt(length: int, seed: int = 0) -> list[int]:
    return np.random.default_rng([seed, length]).integers(4, VOCAB_SIZE, length).tolist()


def mixed_requests() -> list[Request]:
    """Greedy, random, truncated and penalised rows; lengths around block ends."""
    hot = {"temperature": 1.0}
    return [
        Request(prompt(5)),
        Request(prompt(16), SamplingParams(**hot), seed=1),
        Request(prompt(17), SamplingParams(**hot, top_k=20, top_p=0.9), seed=2, num_tokens=20),
        Request(prompt(33), SamplingParams(temperature=0.0, repetition_penalty=1.3, frequency_penalty=0.5)),
        Request(prompt(40), SamplingParams(**hot, min_p=0.05, presence_penalty=1.0), seed=3, num_tokens=12),
        Request(prompt(1), SamplingParams(**hot, logprobs=2, prompt_logprobs=1), seed=4),
    ]


def outputs_alone(worker: TorchWorker, requests: list[Request]) -> list[list[int]]:
    results = []
    for request in requests:
        Driver(worker, chunk_tokens=200).run(request)
        results.append(request.outputs)
    return results


def recomputed_greedy(worker: TorchWorker, token_ids: list[int], count: int) -> list[int]:
    """The naive twin: the whole sequence through the model for every token, with a cache of its own."""
    outputs: list[int] = []
    for _ in range(count):
        request = Request([*token_ids, *outputs], num_tokens=1)
        Driver(worker, chunk_tokens=500).run(request)
        outputs += request.outputs
    return outputs


def test_greedy_decoding_equals_recomputing_the_whole_sequence_for_every_token(worker: TorchWorker) -> None:
    request = Request(prompt(21), num_tokens=14)  # crosses a block end
    Driver(worker).run(request)
    assert request.outputs == recomputed_greedy(worker, prompt(21), 14)


def test_a_batch_gives_each_request_what_it_gets_alone(worker: TorchWorker) -> None:
    requests = mixed_requests()
    Driver(worker, chunk_tokens=200, seed=3).run(*requests)
    assert [r.outputs for r in requests] == outputs_alone(worker, mixed_requests())


@pytest.mark.parametrize("chunk_tokens", [1, 7, BLOCK_SIZE])
def test_chunked_prefill_changes_nothing(worker: TorchWorker, chunk_tokens: int) -> None:
    requests = mixed_requests()
    Driver(worker, chunk_tokens=chunk_tokens).run(*requests)
    assert [r.outputs for r in requests] == outputs_alone(worker, mixed_requests())


def test_preempted_requests_go_on_as_if_nothing_had_happened(worker: TorchWorker) -> None:
    requests = mixed_requests()
    driver = Driver(worker)
    for request in requests:
        driver.admit(request)
    driver.step()
    driver.step()
    driver.step()
    for request in requests[2:5]:
        driver.preempt(request)
    driver.run(*requests[2:5])
    assert [r.outputs for r in requests] == outputs_alone(worker, mixed_requests())


def test_a_slot_forgets_its_former_request(worker: TorchWorker) -> None:
    wild = {"temperature": 1.5, "logprobs": 3, "min_tokens": 3, "repetition_penalty": 2.0, "logit_bias": {7: 50.0}}
    driver = Driver(worker)
    driver.run(*(Request(prompt(30 + i), SamplingParams(**wild), seed=i) for i in range(8)))
    plain = [Request(prompt(5, seed=i)) for i in range(8)]
    driver.run(*plain)
    assert [r.outputs for r in plain] == outputs_alone(worker, [Request(prompt(5, seed=i)) for i in range(8)])
    assert all(r.logprobs == [] for r in plain)


def test_steps_that_finish_no_prompt_yield_no_token(worker: TorchWorker) -> None:
    driver = Driver(worker, chunk_tokens=8)
    driver.admit(Request(prompt(20)))
    assert [len(driver.step().token_ids_M) for _ in range(4)] == [0, 0, 1, 1]


def test_prompt_logprobs_are_the_same_in_chunks_and_after_preemption(worker: TorchWorker) -> None:
    params = SamplingParams(temperature=0.0, prompt_logprobs=2)
    whole, chunked = Request(prompt(37), params, num_tokens=2), Request(prompt(37), params, num_tokens=2)
    Driver(worker, chunk_tokens=100).run(whole)
    driver = Driver(worker, chunk_tokens=6)
    driver.admit(chunked)
    driver.step()
    driver.preempt(chunked)
    driver.run(chunked)
    (one,) = whole.prompt_logprobs
    assert (one.start, len(one.rank_T)) == (1, 36)
    np.testing.assert_array_equal(np.concatenate([p.token_ids_TK for p in chunked.prompt_logprobs]), one.token_ids_TK)
    values = np.concatenate([p.logprobs_TK for p in chunked.prompt_logprobs])
    np.testing.assert_allclose(values, one.logprobs_TK, atol=1e-4)
    assert one.token_ids_TK[:, 0].tolist() == prompt(37)[1:]
    assert (one.logprobs_TK[:, 1] >= one.logprobs_TK[:, 2]).all()


def test_sampled_logprobs_are_those_of_the_prompt_that_contains_the_token(worker: TorchWorker) -> None:
    sampled = Request(prompt(9), SamplingParams(temperature=0.0, logprobs=1), num_tokens=3)
    Driver(worker).run(sampled)
    scored = Request(sampled.tokens, SamplingParams(temperature=0.0, prompt_logprobs=0), num_tokens=1)
    Driver(worker).run(scored)
    expected = scored.prompt_logprobs[0].logprobs_TK[-3:, 0]
    actual = [row[token] for row, token in zip(sampled.logprobs, sampled.outputs, strict=True)]
    np.testing.assert_allclose(actual, expected, atol=1e-4)


def test_grammar_masks_reach_their_rows_whatever_the_batch_order(worker: TorchWorker) -> None:
    driver = Driver(worker)
    requests = [Request(prompt(3 + i), num_tokens=2) for i in range(3)]
    for request in requests:
        driver.admit(request)
    only_token = {}
    for index, request in enumerate(requests[1:]):
        words = np.zeros(VOCAB_SIZE // 32, np.int32)
        token = 100 + 31 * (index + 1)  # bit 31 of a word is the sign bit once
        words[token // 32] = np.int32(np.uint32(1 << (token % 32)).view(np.int32))
        assert request.slot is not None
        only_token[request.slot] = words
    driver.step(only_token)
    free = Request(prompt(3), num_tokens=1)
    Driver(worker).run(free)
    assert [r.outputs[0] for r in requests] == [free.outputs[0], 131, 162]


def test_padding_to_buckets_changes_nothing(worker: TorchWorker) -> None:
    padded = start_worker(tiny_config("BucketPlatform"))
    requests = mixed_requests()
    Driver(padded, chunk_tokens=10).run(*requests)
    assert [r.outputs for r in requests] == outputs_alone(worker, mixed_requests())


def test_captured_decodes_equal_eager_ones_and_padding_rows_stay_in_the_null_block(worker: TorchWorker) -> None:
    BufferedForward.replays.clear()
    captured = start_worker(tiny_config("CapturePlatform", capture_sizes=(2, 4)))
    RecordingAttention.batches.clear()
    requests = mixed_requests()[:5]
    Driver(captured, chunk_tokens=64).run(*requests)
    assert [r.outputs for r in requests] == outputs_alone(worker, mixed_requests()[:5])
    assert set(BufferedForward.replays) == {2}, "five rows are past the largest capture, then two and one remain"
    single = [batch for batch in RecordingAttention.batches if batch.seq_lens_N[1:].tolist() == [1]]
    assert single, "the last request decodes alone, padded to two rows"
    for batch in single:
        assert (batch.block_table_NB[1] == NULL_BLOCK).all()
        assert batch.slot_mapping_T[1] // BLOCK_SIZE == NULL_BLOCK


def test_eager_mode_captures_nothing() -> None:
    BufferedForward.replays.clear()
    Driver(start_worker(tiny_config("CapturePlatform", (2, 4), enforce_eager=True))).run(Request(prompt(4)))
    assert BufferedForward.replays == []


def test_bfloat16_runs_and_its_first_token_is_that_of_fp32_where_the_margin_is_wide(worker: TorchWorker) -> None:
    params = SamplingParams(temperature=0.0, logprobs=2)
    exact = [Request(prompt(8, seed=i), params, num_tokens=1) for i in range(6)]
    rounded = [Request(prompt(8, seed=i), params, num_tokens=1) for i in range(6)]
    Driver(worker).run(*exact)
    Driver(start_worker(tiny_config(dtype="bfloat16"))).run(*rounded)
    for one, other in zip(exact, rounded, strict=True):
        best, second = sorted(one.logprobs[0].values())[::-1][:2]
        assert one.outputs == other.outputs or best - second < 0.2
