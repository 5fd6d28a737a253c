"""Workers in processes of their own that do what they are told: results, order, sizes, calls, set-up, a clean end."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from core.tests.executor.fake_worker import CallsWorkers, FakeWorker, fake_config, new_slot, plan_of
from core.tests.executor.processes import open_watches, still_alive
from vllm.errors import ConfigError, EngineDeadError, InvalidRequestError, RpcTimeoutError, WorkerError
from vllm.executor import multiproc
from vllm.executor.multiproc import MultiprocExecutor
from vllm.executor.selection import create_executor
from vllm.messages import StepPlan
from vllm.worker.worker_base import WorkerBase

pytestmark = pytest.mark.alone  # processes and their deadlines


@pytest.fixture(scope="module")
def executor() -> Iterator[MultiprocExecutor]:
    """Two ranks that no test here may break."""
    config = fake_config(2, backend="mp", async_scheduling=True)
    extended = {"worker_extension_cls": f"{CallsWorkers.__module__}.CallsWorkers"}
    executor = create_executor(config.with_changes(parallel_config=extended))
    assert isinstance(executor, MultiprocExecutor)
    executor.start_workers()
    yield executor
    executor.shutdown()


def test_ranks_are_processes_of_their_own(executor: MultiprocExecutor) -> None:
    pids = executor.call(pid_of)
    assert len({*pids, os.getpid()}) == 3
    assert executor.call(rank_of) == [0, 1]


def test_steps_reach_every_rank_and_answer_in_order(executor: MultiprocExecutor) -> None:
    before = executor.call(steps_run)
    for step in range(3):
        handle = executor.submit(plan_of(step))
        handle.sample()
        output = handle.result()
        assert output.step == step
        assert output.slots_N.tolist() == [0, 1]
        assert output.token_ids_M.tolist() == [7 + step, 107 + step]
    assert executor.call(steps_run) == [[*ran, 0, 1, 2] for ran in before]


def test_two_steps_in_flight(executor: MultiprocExecutor) -> None:
    assert executor.max_inflight_steps == 2
    handles = []
    for step in range(20):
        handles.append(executor.submit(plan_of(step, grammar=(1,) if step % 3 == 0 else ())))
        handles[-1].sample(np.array([[1000]], np.int32) if step % 3 == 0 else None)
        if len(handles) == 2:
            check(handles.pop(0).result(), step - 1)
    check(handles.pop().result(), 19)


def check(output, step: int) -> None:
    assert output.step == step
    assert output.token_ids_M.tolist() == [7 + step, 107 + step + (1000 if step % 3 == 0 else 0)]


def test_an_answer_may_wait_while_calls_go_on(executor: MultiprocExecutor) -> None:
    handle = executor.submit(plan_of(0, grammar=(0,)))
    assert executor.call(rank_of) == [0, 1]  # the workers answer calls while they wait for the mask
    handle.sample(np.array([[5]], np.int32))
    assert executor.call(rank_of) == [0, 1]
    assert handle.result().token_ids_M.tolist() == [12, 107]


@pytest.mark.parametrize("prompt_tokens", [1, 20_000, 3_000_000])
def test_plans_of_any_size(executor: MultiprocExecutor, prompt_tokens: int) -> None:
    plan = plan_of(0)
    prompts = np.arange(prompt_tokens, dtype=np.int32)
    plan = with_new(plan, "no order", prompt_tokens)
    for _ in range(5):  # past the ring's length
        handle = executor.submit(plan)
        handle.sample()
        handle.result()
    for checksum in executor.call(checksum_of_prompt):
        assert checksum == (prompt_tokens, int(prompts.sum(dtype=np.int64)))


def test_plans_are_the_workers_own(executor: MultiprocExecutor) -> None:
    """Arrays of a step stay as they were while later plans overwrite its place on the board."""
    for step in range(6):
        handle = executor.submit(with_new(plan_of(step), "no order", 5000 + step))
        handle.sample()
        handle.result()
        executor.call(keep_plan)
    kept = executor.call(kept_sums)
    assert kept == [[int(np.arange(5000 + step).sum()) for step in range(6)]] * 2


def test_set_up_in_terms_of_calls(executor: MultiprocExecutor) -> None:
    assert executor.determine_available_memory() == 999
    assert executor.kv_cache_groups()[0].bytes_per_block == 4096
    executor.warm_up()
    executor.check_health()
    assert executor.call(WorkerBase.apply_model, len) == [len("model of rank 0")] * 2


def test_collective_rpc_by_name_and_by_function(executor: MultiprocExecutor) -> None:
    assert executor.collective_rpc("shout", args=("ha",), kwargs={"times": 2}) == ["0:HAHA", "1:HAHA"]
    assert executor.collective_rpc(add_rank, args=(5,)) == [5, 6]
    with pytest.raises(
        InvalidRequestError, match=r"(?s)asks for 'shuot'.*Did you mean: .*shout.*Raised by: Worker \d \(pid"
    ):
        executor.collective_rpc("shuot")


def test_what_cannot_be_sent_is_refused(executor: MultiprocExecutor) -> None:
    with pytest.raises(InvalidRequestError, match=r"(?s)lambda.*cannot be sent.*Remedy: use functions"):
        executor.collective_rpc(lambda worker: worker.rank)
    with pytest.raises(WorkerError, match=r"(?s)result of the call, a function, cannot be sent.*return plain data"):
        executor.collective_rpc(give_lambda)
    assert executor.call(rank_of) == [0, 1]


def test_an_error_of_one_rank_keeps_class_message_and_traceback(executor: MultiprocExecutor) -> None:
    with pytest.raises(LookupError, match=r"rank 1 has no such thing\n  Raised by: Worker 1 \(pid \d+\)") as caught:
        executor.call(fail_on_rank, 1)
    assert "in fail_on_rank" in str(caught.value.__cause__)
    assert executor.call(rank_of) == [0, 1]


def test_an_error_that_cannot_be_rebuilt_arrives_as_text(executor: MultiprocExecutor) -> None:
    with pytest.raises(WorkerError, match=r"Worker \d \(pid \d+\) raised UnpicklableError: 1 and 2"):
        executor.call(fail_unpicklably)


def test_collective_rpc_time_out_and_its_late_answer(executor: MultiprocExecutor, tmp_path: Path) -> None:
    for rank in range(2):
        os.mkfifo(tmp_path / f"gate.{rank}")
    with pytest.raises(RpcTimeoutError, match=r"wait_for_gate\) was not answered within 0.05 s by Worker 0 .*Worker 1"):
        executor.collective_rpc(wait_for_gate, timeout_s=0.05, args=(str(tmp_path / "gate"),))
    for rank in range(2):
        (tmp_path / f"gate.{rank}").write_text("open")
    assert executor.call(rank_of) == [0, 1]


def test_workers_share_the_cores(executor: MultiprocExecutor) -> None:
    expected = os.environ.get("OMP_NUM_THREADS") or str(max(1, len(os.sched_getaffinity(0)) // 2))
    assert executor.call(threads_of) == [expected] * 2


def test_a_forked_copy_of_the_engine_ends_nothing(executor: MultiprocExecutor) -> None:
    child = os.fork()
    if child == 0:
        executor._end()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert executor.call(rank_of) == [0, 1]


def test_start_up_errors_keep_their_class_and_name_the_rank() -> None:
    with pytest.raises(
        ConfigError, match=r"(?s)no model in folder nowhere.*Remedy: look for it.*Raised by: Worker 1 \(pid"
    ):
        MultiprocExecutor(fake_config(2, backend="mp", refuse_rank=1))
    executor = MultiprocExecutor(fake_config(2, backend="mp", load_error_rank=1, uneven=True))
    with pytest.raises(WorkerError, match=r"Worker 1 failed in load_model: FileNotFoundError: weights are gone"):
        executor.start_workers()
    with pytest.raises(WorkerError, match="ranks disagree about the KV cache"):
        executor.kv_cache_groups()
    executor.shutdown()


def test_one_rank_failing_alone_in_a_call_ends_the_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The others would wait for it in a collective for ever."""
    monkeypatch.setattr(multiproc, "OTHER_RANKS_s", 0.05)
    executor = MultiprocExecutor(fake_config(2, backend="mp"))
    watches = open_watches(executor.call(pid_of))
    with pytest.raises(LookupError, match="Raised by: Worker 1"):
        executor.call(hang_or_fail)
    assert still_alive(watches, 0.0) == []
    with pytest.raises(EngineDeadError, match=r"has stopped: LookupError"):
        executor.call(rank_of)


def test_a_configuration_that_cannot_be_sent_is_refused() -> None:
    config = fake_config(2, backend="mp", made_here=lambda: None)
    with pytest.raises(ConfigError, match="cannot be sent to worker processes"):
        MultiprocExecutor(config)


def test_shutdown_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No process, no open descriptor, no file; and it may be called twice."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    note = tmp_path / "note"
    executor = MultiprocExecutor(fake_config(2, backend="mp", shutdown_note=str(note)))
    watches = open_watches(executor.call(pid_of))
    executor.shutdown()
    executor.shutdown()
    assert still_alive(watches, 0.0) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors
    assert sorted(path.name for path in tmp_path.iterdir()) == ["note.0", "note.1"]
    with pytest.raises(EngineDeadError, match="was shut down"):
        executor.submit(plan_of(0))


def test_a_forgotten_executor_ends_its_workers() -> None:
    executor = MultiprocExecutor(fake_config(2, backend="mp"))
    watches = open_watches(executor.call(pid_of))
    del executor
    assert still_alive(watches) == []


def with_new(plan: StepPlan, order: str, prompt_tokens: int) -> StepPlan:
    from dataclasses import replace

    return replace(plan, new=(new_slot(order, prompt_tokens),))


# -- what the workers are asked to do -----------------------------------------------------------------------------------------


def rank_of(worker: WorkerBase) -> int:
    return worker.rank


def pid_of(_worker: WorkerBase) -> int:
    return os.getpid()


def add_rank(worker: WorkerBase, number: int) -> int:
    return worker.rank + number


def steps_run(worker: FakeWorker) -> list[int]:
    return worker.steps_run


def checksum_of_prompt(worker: FakeWorker) -> tuple[int, int]:
    token_ids = worker.plan.new[0].token_ids
    return len(token_ids), int(token_ids.sum(dtype=np.int64))


def keep_plan(worker: FakeWorker) -> None:
    worker.seconds_of.setdefault("kept", [])  # type: ignore[arg-type]
    worker.seconds_of["kept"].append(worker.plan)  # type: ignore[attr-defined]


def kept_sums(worker: FakeWorker) -> list[int]:
    return [int(plan.new[0].token_ids.sum()) for plan in worker.seconds_of["kept"]]  # type: ignore[attr-defined]


def give_lambda(_worker: WorkerBase) -> object:
    return lambda: 1


def fail_on_rank(worker: WorkerBase, rank: int) -> None:
    if worker.rank == rank:
        raise LookupError(f"rank {rank} has no such thing")


def fail_unpicklably(worker: FakeWorker) -> None:
    worker._obey(f"unpicklable@{worker.rank}")


def hang_or_fail(worker: WorkerBase) -> None:
    fail_on_rank(worker, 1)
    threading.Event().wait()


def wait_for_gate(worker: WorkerBase, gate: str) -> None:
    Path(f"{gate}.{worker.rank}").read_text()


def threads_of(_worker: WorkerBase) -> str | None:
    return os.environ.get("OMP_NUM_THREADS")
