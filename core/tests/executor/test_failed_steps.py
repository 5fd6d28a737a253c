"""A step raises where the platform survives it: its handle raises, what was planned behind it does not run, what starts anew does."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from core.tests.executor.fake_worker import FakeWorker, plan_of
from core.tests.executor.forgiving import forgiving_config
from vllm.errors import DeviceError, EngineDeadError, OutOfMemoryError, StepFailedError
from vllm.executor.selection import create_executor

MASK_GW = np.array([[1000]], np.int32)


class Moody(FakeWorker):
    """Raises what it is given."""

    mood: Exception | None = None

    def _execute(self, plan: object) -> None:
        super()._execute(plan)  # type: ignore[arg-type]
        if self.mood is not None:
            raise self.mood


@pytest.fixture
def worker() -> Moody:
    return Moody(forgiving_config(), rank=0, local_rank=0, init_method="")


def test_plans_are_refused_until_one_starts_anew(worker: Moody) -> None:
    worker.mood = KeyError("a plugin's mistake")
    with pytest.raises(StepFailedError, match=r"A step failed: KeyError: .*mistake") as caught:
        worker.execute(plan_of(0))
    assert caught.value.__cause__ is worker.mood
    worker.mood = None
    with pytest.raises(StepFailedError, match=r"Step 1 was planned behind .*mistake"):
        worker.execute(plan_of(1))
    worker.execute(replace(plan_of(2), starts_anew=True))
    assert worker.sample().step == 2
    worker.execute(plan_of(3))
    assert worker.steps_run == [0, 2, 3]


@pytest.mark.parametrize(
    "error",
    [DeviceError("a device"), RuntimeError("the fan stands still"), MemoryError("no room"), OutOfMemoryError("full")],
    ids=repr,
)
def test_what_a_device_or_memory_did_is_not_rewritten(worker: Moody, error: Exception) -> None:
    worker.mood = error
    with pytest.raises(type(error)) as caught:
        worker.execute(plan_of(0))
    assert caught.value is error


def test_several_ranks_survive_nothing() -> None:
    worker = Moody(forgiving_config(2), rank=0, local_rank=0, init_method="")
    worker.mood = KeyError("a plugin's mistake")
    with pytest.raises(KeyError):
        worker.execute(plan_of(0))


def test_behind_memory_that_ran_out_nothing_runs_either(worker: Moody) -> None:
    worker.mood = OutOfMemoryError("full")
    with pytest.raises(OutOfMemoryError):
        worker.execute(plan_of(0))
    worker.mood = None
    with pytest.raises(StepFailedError, match="planned behind"):
        worker.execute(plan_of(1))


@pytest.mark.alone
@pytest.mark.parametrize("async_scheduling", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("backend", ["uni", "mp"])
def test_an_executor_goes_on_with_a_plan_that_starts_anew(backend: str, async_scheduling: bool) -> None:
    """The failed step, and the one behind it, have masks that come too late."""
    executor = create_executor(forgiving_config(backend=backend, async_scheduling=async_scheduling))
    try:
        handles = [executor.submit(plan_of(0, order="raise@0", grammar=(1,)))]
        handles[0].sample(MASK_GW)
        if async_scheduling:
            handles.append(executor.submit(plan_of(1, grammar=(0,))))
            handles[1].sample(MASK_GW)
        for handle in handles:
            with pytest.raises(StepFailedError, match="ZeroDivisionError: bad step"):
                handle.result()
        handle = executor.submit(replace(plan_of(2, grammar=(1,)), starts_anew=True))
        handle.sample(MASK_GW)
        assert handle.result().token_ids_M.tolist() == [9, 1109]
        executor.check_health()
    finally:
        executor.shutdown()


@pytest.mark.alone
def test_an_executor_of_two_ranks_ends() -> None:
    executor = create_executor(forgiving_config(2, backend="mp"))
    try:
        handle = executor.submit(plan_of(0, order="raise@0"))
        handle.sample()
        with pytest.raises(ZeroDivisionError):
            handle.result()
        with pytest.raises(EngineDeadError):
            executor.submit(plan_of(1))
    finally:
        executor.shutdown()
