"""One worker in this process, on the caller's thread or on its own: results, order, errors, shutdown."""

from __future__ import annotations

import gc
import threading
from pathlib import Path

import numpy as np
import pytest

from core.tests.executor.fake_worker import CallsWorkers, FakeWorker, fake_config, plan_of
from vllm.errors import ConfigError, EngineDeadError, InvalidRequestError, VllmError, WorkerError
from vllm.executor.uniproc import UniProcExecutor
from vllm.worker.worker_base import WorkerBase

pytestmark = pytest.mark.alone  # processes and their deadlines

both_modes = pytest.mark.parametrize("async_scheduling", [False, True])


@both_modes
def test_steps_answer_in_order(async_scheduling: bool) -> None:
    executor = started(async_scheduling)
    for step in range(3):
        handle = executor.submit(plan_of(step))
        handle.sample()
        output = handle.result()
        assert output.step == step
        assert output.slots_N.tolist() == [0, 1]
        assert output.token_ids_M.tolist() == [7 + step, 107 + step]


def test_two_steps_in_flight() -> None:
    executor = started(async_scheduling=True)
    assert executor.max_inflight_steps == 2
    first = executor.submit(plan_of(0))
    first.sample()
    second = executor.submit(plan_of(1))
    second.sample()
    assert [first.result().step, second.result().step] == [0, 1]
    assert executor.call(steps_run) == [[0, 1]]


@both_modes
def test_grammar_masks_reach_their_rows(async_scheduling: bool) -> None:
    handle = started(async_scheduling).submit(plan_of(0, grammar=(1, 0)))
    handle.sample(np.array([[1000], [2000]], np.int32))
    assert handle.result().token_ids_M.tolist() == [2007, 1107]


@both_modes
def test_masks_must_fit_the_plan(async_scheduling: bool) -> None:
    handle = started(async_scheduling).submit(plan_of(5, grammar=(1, 0)))
    with pytest.raises(ValueError, match="step 5 has 2 rows with a grammar, but masks for 0 were given"):
        handle.sample()


@both_modes
def test_all_calls_of_a_worker_come_from_one_thread(async_scheduling: bool) -> None:
    executor = started(async_scheduling)
    executor.submit(plan_of(0)).sample()
    (threads,) = executor.call(threads_seen)
    assert len(threads) == 1
    assert (threading.get_ident() in threads) is not async_scheduling


@both_modes
def test_a_failed_step_keeps_its_class_and_ends_the_engine(async_scheduling: bool) -> None:
    executor = started(async_scheduling)
    handle = executor.submit(plan_of(0, order="raise@0"))
    handle.sample()
    with pytest.raises(ZeroDivisionError, match="bad step"):
        handle.result()
    with pytest.raises(EngineDeadError, match=r"(?s)has stopped: ZeroDivisionError: bad step.*create a new engine"):
        executor.submit(plan_of(1))
    with pytest.raises(EngineDeadError):
        executor.check_health()


def test_a_step_behind_a_failed_one_does_not_run() -> None:
    executor = started(async_scheduling=True)
    worker = executor._worker
    assert isinstance(worker, FakeWorker)
    first, second = executor.submit(plan_of(0, order="raise@0")), None
    first.sample()
    try:
        second = executor.submit(plan_of(1))
        second.sample()
    except EngineDeadError:
        second = None  # the error was there before the second step was submitted
    with pytest.raises(ZeroDivisionError):
        first.result()
    if second is not None:
        with pytest.raises(EngineDeadError):
            second.result()
    assert worker.steps_run == [0]


@both_modes
def test_set_up_in_terms_of_calls(async_scheduling: bool) -> None:
    executor = started(async_scheduling)
    assert executor.determine_available_memory() == 1000
    assert executor.kv_cache_groups()[0].bytes_per_block == 4096


def test_set_up_errors_name_rank_and_stage() -> None:
    with pytest.raises(WorkerError, match="Worker 0 failed in load_model: FileNotFoundError: weights are gone"):
        UniProcExecutor(fake_config(load_error_rank=0)).start_workers()
    with pytest.raises(ConfigError, match="no model in folder nowhere"):
        UniProcExecutor(fake_config(refuse_rank=0))


@both_modes
def test_collective_rpc_by_name_and_by_function(async_scheduling: bool) -> None:
    config = fake_config(async_scheduling=async_scheduling)
    extended = {"worker_extension_cls": f"{CallsWorkers.__module__}.CallsWorkers"}
    executor = UniProcExecutor(config.with_changes(parallel_config=extended))
    assert executor.collective_rpc("shout", args=("ha",), kwargs={"times": 2}) == ["0:HAHA"]
    assert executor.collective_rpc(lambda worker, extra: worker.rank + extra, args=(5,)) == [5]
    with pytest.raises(InvalidRequestError, match=r"(?s)asks for 'shuot'.*Did you mean: .*shout"):
        executor.collective_rpc("shuot")
    executor.check_health()


def test_collective_rpc_time_out() -> None:
    executor = started(async_scheduling=True)
    release = threading.Event()
    with pytest.raises(TimeoutError, match=r"collective_rpc\(.*lambda.*within 0.01 s by the worker"):
        executor.collective_rpc(lambda worker: release.wait(), timeout_s=0.01)
    release.set()
    assert executor.collective_rpc(lambda worker: worker.rank) == [0]


def test_a_sick_device_is_reported() -> None:
    with pytest.raises(VllmError, match="fever"):
        UniProcExecutor(fake_config(sick=True)).check_health()


@both_modes
def test_shutdown_once_however_it_comes(async_scheduling: bool, tmp_path: Path) -> None:
    note = tmp_path / "note"
    executor = UniProcExecutor(fake_config(async_scheduling=async_scheduling, shutdown_note=str(note)))
    executor.shutdown()
    executor.shutdown()
    with pytest.raises(EngineDeadError, match="was shut down"):
        executor.call(WorkerBase.check_health)
    del executor
    gc.collect()
    assert Path(f"{note}.0").read_text() == "shutdown\n"


def test_a_forgotten_executor_shuts_its_worker_down(tmp_path: Path) -> None:
    note = tmp_path / "note"
    UniProcExecutor(fake_config(shutdown_note=str(note)))
    gc.collect()
    assert Path(f"{note}.0").read_text() == "shutdown\n"


def test_several_workers_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"(?s)'uni' runs one worker.*asks for 2.*'mp'"):
        UniProcExecutor(fake_config(2))


def started(async_scheduling: bool) -> UniProcExecutor:
    executor = UniProcExecutor(fake_config(async_scheduling=async_scheduling))
    executor.start_workers()
    return executor


def steps_run(worker: WorkerBase) -> list[int]:
    assert isinstance(worker, FakeWorker)
    return worker.steps_run


def threads_seen(worker: WorkerBase) -> set[int]:
    assert isinstance(worker, FakeWorker)
    return worker.threads
