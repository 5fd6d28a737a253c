"""Two ranks in processes of their own, over gloo, generate what one generates; and what a user sees when one of them dies."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import torch

from core.tests.executor.processes import open_watches, still_alive
from core.tests.generation.conftest import NewLLM
from core.tests.generation.mixed_requests import essence, mixed_requests
from core.tests.models.checkpoints import FAMILIES, LONGEST, random_texts
from vllm import LLM, LLMEngine, RequestOutput, SamplingParams, TokensPrompt
from vllm.errors import EngineDeadError, WorkerDiedError
from vllm.worker.worker_base import WorkerBase

pytestmark = pytest.mark.alone  # processes and their deadlines

TOLERANCE = 1e-4  # natural logarithms, fp32; two ranks add in another order than one
OF_EACH_FAMILY = ("llama", "llama-biased", "mistral-windowed", "qwen2", "qwen3-windowed", "mixtral", "qwen2-moe")


@pytest.fixture(scope="module")
def single() -> Iterator[LLM]:
    """One rank."""
    llm = LLM(dtype="float32", max_model_len=320, max_num_seqs=16)
    yield llm
    llm.shutdown()


@pytest.mark.parametrize("async_scheduling", [False, True], ids=["sync", "async"])
def test_mixed_requests_chunked_and_preempted(new_llm: NewLLM, single: LLM, async_scheduling: bool) -> None:
    """All kinds of requests on two ranks, in steps of 64 tokens, with blocks for a part of them: what one rank gives."""
    prompts, params = mixed_requests(16)
    wanted = single.generate(prompts, params, use_tqdm=False)
    pair = new_llm(
        tensor_parallel_size=2,
        max_num_seqs=16,
        max_num_batched_tokens=64,
        num_gpu_blocks_override=21,
        async_scheduling=async_scheduling,
    )
    found = pair.generate(prompts, params, use_tqdm=False)
    assert pair.llm_engine._core.stats().num_preemptions >= 10
    assert [essence(output) for output in found] == [essence(output) for output in wanted]


@pytest.mark.parametrize("name", OF_EACH_FAMILY)
def test_every_family(new_llm: NewLLM, tmp_path: Path, name: str) -> None:
    """Random checkpoints, ragged prompts, steps of 16 tokens, preemptions: equal tokens, log-probabilities within 1e-4."""
    next(family for family in FAMILIES if family.name == name).write(tmp_path)
    options = {"skip_tokenizer_init": True, "max_model_len": LONGEST, "max_num_seqs": 8}
    wanted = generated(new_llm(str(tmp_path), **options))
    pair = new_llm(
        str(tmp_path), tensor_parallel_size=2, max_num_batched_tokens=16, num_gpu_blocks_override=8, **options
    )
    found = generated(pair)
    assert pair.llm_engine._core.stats().num_preemptions > 0
    for one, two in zip(wanted, found, strict=True):
        assert one.outputs[0].token_ids == two.outputs[0].token_ids
        assert one.outputs[0].logprobs is not None and two.outputs[0].logprobs is not None
        assert_close(one.outputs[0].logprobs, two.outputs[0].logprobs)
        assert one.prompt_logprobs is not None and two.prompt_logprobs is not None
        assert one.prompt_logprobs[0] is None and two.prompt_logprobs[0] is None
        assert_close(one.prompt_logprobs[1:], two.prompt_logprobs[1:])


def test_the_weights_are_really_shared_out(new_llm: NewLLM, single: LLM) -> None:
    pair = new_llm(tensor_parallel_size=2)
    (whole,) = single.apply_model(count_parameters)
    first, second = pair.apply_model(count_parameters)
    assert first == second
    assert whole / 2 <= first < 0.55 * whole


@pytest.mark.parametrize("rank, step_in_flight", [(0, False), (1, True)])
def test_a_worker_killed_in_mid_generation(new_llm: NewLLM, rank: int, step_in_flight: bool) -> None:
    """The error names it, every process is gone within 5 s, and the engine says why it takes no more requests."""
    llm = new_llm(tensor_parallel_size=2, async_scheduling=step_in_flight)
    pids = llm.collective_rpc(pid_of)
    watches = open_watches(pids)
    engine = llm.llm_engine
    for number in range(8):
        params = SamplingParams(temperature=0.0, max_tokens=200, ignore_eos=True)
        engine.add_request(str(number), "Count: 17 18 19", params)
    for _ in range(20):
        engine.step()
    os.kill(pids[rank], signal.SIGKILL)
    with pytest.raises(WorkerDiedError, match=rf"Worker {rank} \(pid {pids[rank]}\) died with signal 9 \(SIGKILL\)"):
        run_to_end(engine)
    assert still_alive(watches) == []
    with pytest.raises(EngineDeadError, match="died with signal 9"):
        llm.generate("Count: 17 18 19", use_tqdm=False)


def run_to_end(engine: LLMEngine) -> None:
    while engine.has_unfinished_requests():
        engine.step()


def generated(llm: LLM) -> Sequence[RequestOutput]:
    prompts = [TokensPrompt(prompt_token_ids=text) for text in random_texts((1, 5, 16, 17, 33, 40), seed=3)]
    greedy = SamplingParams(temperature=0.0, max_tokens=20, logprobs=3, prompt_logprobs=3, ignore_eos=True)
    return llm.generate(prompts, greedy, use_tqdm=False)


def assert_close(one: Sequence[Mapping[int, object]], two: Sequence[Mapping[int, object]]) -> None:
    """The same tokens among the best, but for ties, with the same log-probabilities."""
    for ours, theirs in zip(one, two, strict=True):
        common = ours.keys() & theirs.keys()
        assert len(common) >= len(ours) - 1
        for token_id in common:
            assert ours[token_id].logprob == pytest.approx(theirs[token_id].logprob, abs=TOLERANCE)  # type: ignore[attr-defined]


def count_parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def pid_of(_worker: WorkerBase) -> int:
    return os.getpid()
