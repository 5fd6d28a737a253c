"""A request whose steps raise fails alone where the platform survives it; the others' outputs are those of an undisturbed run."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from core.tests.executor.processes import open_watches, still_alive
from core.tests.generation.conftest import NewLLM
from core.tests.generation.mixed_requests import essence, mixed_requests
from core.tests.generation.poison_worker import POISON, POISON_FROM
from vllm import LLM, SamplingParams
from vllm.errors import EngineDeadError, StepFailedError

BUGGY: dict[str, Any] = {"worker_cls": "core.tests.generation.poison_worker.PoisonWorker", "max_num_seqs": 16}
POISONED = SamplingParams(temperature=0.0, max_tokens=60, logit_bias={POISON: 100.0}, ignore_eos=True)
HEALTHY = SamplingParams(temperature=0.0, max_tokens=8, ignore_eos=True)
PROMPT = [5] * 10


@pytest.mark.parametrize(
    ("async_scheduling", "caching"),
    [(False, True), (True, True), (True, False)],
    ids=["sync", "async", "async-uncached"],
)
def test_others_never_notice(new_llm: NewLLM, llm: LLM, async_scheduling: bool, caching: bool) -> None:
    prompts, params = mixed_requests(15)
    expected = llm.generate(prompts, params, use_tqdm=False)
    buggy = new_llm(**BUGGY, async_scheduling=async_scheduling, enable_prefix_caching=caching)
    mixed = [*prompts[:7], {"prompt_token_ids": PROMPT}, *prompts[7:]]
    found = buggy.generate(mixed, [*params[:7], POISONED, *params[7:]], use_tqdm=False)
    poisoned = found.pop(7).outputs[0]
    assert [essence(output) for output in found] == [essence(output) for output in expected]
    assert poisoned.finish_reason == "error"
    assert set(poisoned.token_ids) == {POISON}
    assert (
        len(PROMPT) + len(poisoned.token_ids) == POISON_FROM + 1
    )  # the token at that position was given, and not computed
    stats = buggy.llm_engine._core.stats()
    assert (stats.kv_cache_usage, stats.num_running, stats.num_waiting) == (0.0, 0, 0)
    assert 4 <= stats.num_failed_steps <= 8
    (again,) = buggy.generate([PROMPT], HEALTHY, use_tqdm=False)
    assert essence(again) == essence(llm.generate([PROMPT], HEALTHY, use_tqdm=False)[0])


@pytest.mark.alone
@pytest.mark.parametrize("async_scheduling", [False, True], ids=["sync", "async"])
def test_with_the_worker_in_a_process_of_its_own(new_llm: NewLLM, llm: LLM, async_scheduling: bool) -> None:
    prompts, params = mixed_requests(7)  # one of them has a grammar, whose masks travel by themselves
    expected = llm.generate(prompts, params, use_tqdm=False)
    buggy = new_llm(**BUGGY, async_scheduling=async_scheduling, distributed_executor_backend="mp")
    found = buggy.generate([{"prompt_token_ids": PROMPT}, *prompts], [POISONED, *params], use_tqdm=False)
    assert found.pop(0).outputs[0].finish_reason == "error"
    assert [essence(output) for output in found] == [essence(output) for output in expected]


@pytest.mark.parametrize("async_scheduling", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("most_rows", [0, 3], ids=["always", "in company"])
def test_what_is_nobodys_fault_ends_the_engine_in_order(
    new_llm: NewLLM, most_rows: int, async_scheduling: bool
) -> None:
    buggy = new_llm(**BUGGY, additional_config={"most_rows": most_rows}, async_scheduling=async_scheduling)
    with pytest.raises(StepFailedError, match="ZeroDivisionError: the model cannot bear this"):
        buggy.generate([[5, number] for number in range(12)], HEALTHY, use_tqdm=False)
    with pytest.raises(EngineDeadError, match="the model cannot bear this"):
        buggy.generate([[5]], HEALTHY, use_tqdm=False)


@pytest.fixture
def log(llm: LLM, caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    """What is logged, although vLLM's logger does not propagate. An engine has set logging up before, which replaces handlers."""
    del llm
    logger = logging.getLogger("vllm")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


@pytest.mark.alone
@pytest.mark.parametrize("backend", ["uni", "mp"])
def test_the_log_tells_the_traceback_once_and_who_it_was(
    new_llm: NewLLM, log: pytest.LogCaptureFixture, backend: str
) -> None:
    buggy = new_llm(**BUGGY, distributed_executor_backend=backend)
    others = [SamplingParams(temperature=0.0, max_tokens=40, ignore_eos=True)] * 3
    buggy.generate([PROMPT] * 4, [POISONED, *others], use_tqdm=False)
    assert buggy.llm_engine._core.stats().num_failed_steps == 3
    assert sum(record.exc_info is not None for record in log.records) == 1
    assert sum("ends with an error" in record.getMessage() for record in log.records) == 1


@pytest.mark.alone
def test_two_ranks_end_in_order(new_llm: NewLLM) -> None:
    pair = new_llm(**BUGGY, tensor_parallel_size=2)
    watches = open_watches(worker.process.pid for worker in pair.llm_engine._core.executor._crew.workers)  # type: ignore[attr-defined]
    with pytest.raises(ZeroDivisionError, match="cannot bear"):
        pair.generate([PROMPT, PROMPT], [POISONED, HEALTHY], use_tqdm=False)
    assert still_alive(watches) == []
    with pytest.raises(EngineDeadError):
        pair.generate([[5]], HEALTHY, use_tqdm=False)
