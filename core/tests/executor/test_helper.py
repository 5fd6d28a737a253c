"""Work in a process beside: what it gives and raises, and that nothing it does holds up or harms who asked."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from vllm.errors import BeyondLimitsError, InvalidRequestError
from vllm.executor.helper import HelperPool

PATIENT_s = 60.0
GIB = 1 << 30


def set_up(place: str) -> None:
    os.environ["HELPER_TEST_PLACE"] = place


def place() -> tuple[str, int]:
    return os.environ["HELPER_TEST_PLACE"], os.getpid()


def refuse(value: int) -> None:
    raise InvalidRequestError(f"{value} is too much.", parameter="value")


def spin() -> None:
    while True:
        pass


def spin_in_native_code() -> None:
    pow(7, 7**9)


def take_memory() -> int:
    return len(bytearray(8 * GIB))


def crash() -> None:
    ctypes.string_at(0)


@contextmanager
def pool(**changes: Any) -> Iterator[HelperPool]:
    one = HelperPool("Helper", set_up, "here", **changes)
    try:
        yield one
    finally:
        one.close()


def test_what_the_function_gives_and_raises() -> None:
    async def story(helpers: HelperPool) -> None:
        assert (await helpers.run(PATIENT_s, place))[0] == "here"
        with pytest.raises(InvalidRequestError, match="7 is too much") as caught:
            await helpers.run(PATIENT_s, refuse, 7)
        assert caught.value.parameter == "value"

    with pool() as helpers:
        asyncio.run(story(helpers))


@pytest.mark.parametrize(
    ("work", "timeout_s", "complaint"),
    [
        (spin, 0.2, "takes longer than 0.2 s"),
        (spin_in_native_code, 0.2, "takes longer than 0.2 s"),
        (take_memory, PATIENT_s, "takes more memory"),
        (crash, PATIENT_s, "takes more than 4 GiB of memory, or crashes"),
    ],
)
def test_work_beyond_its_limits_is_given_up_and_the_next_is_done(
    work: Callable[[], object], timeout_s: float, complaint: str
) -> None:
    async def story(helpers: HelperPool) -> None:
        with pytest.raises(BeyondLimitsError, match=complaint):
            await helpers.run(timeout_s, work)
        assert (await helpers.run(PATIENT_s, place))[0] == "here"

    with pool(max_processes=1) as helpers:
        asyncio.run(story(helpers))


def test_other_work_has_a_process_of_its_own_and_waiting_does_not_count() -> None:
    async def story(helpers: HelperPool) -> None:
        (_, first), (_, second) = await asyncio.gather(helpers.run(PATIENT_s, place), helpers.run(PATIENT_s, place))
        looping = asyncio.create_task(helpers.run(1.0, spin))
        places = [await helpers.run(PATIENT_s, place) for _ in range(3)]
        assert {pid for _, pid in places} <= {first, second}
        with pytest.raises(BeyondLimitsError):
            await looping

    with pool() as helpers:
        asyncio.run(story(helpers))


class Parcel:
    """Something that work is handed."""


def open_parcel(parcel: Parcel) -> None:
    """Nothing."""


def test_work_that_nobody_waits_for_any_more_is_not_kept() -> None:
    async def story(helpers: HelperPool) -> None:
        looping = asyncio.create_task(helpers.run(1.0, spin))
        await asyncio.sleep(0)
        parcel = Parcel()
        is_kept = weakref.ref(parcel)
        waiting = asyncio.create_task(helpers.run(PATIENT_s, open_parcel, parcel))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        del parcel, waiting
        gc.collect()
        assert is_kept() is None
        with pytest.raises(BeyondLimitsError):
            await looping

    with pool(max_processes=1) as helpers:
        asyncio.run(story(helpers))


def test_closing_ends_what_runs_and_leaves_no_process() -> None:
    async def story(helpers: HelperPool) -> None:
        _, pid = await helpers.run(PATIENT_s, place)
        looping = asyncio.create_task(helpers.run(PATIENT_s, spin))
        rest = psutil.Process(pid).cpu_times().user
        while psutil.Process(pid).cpu_times().user == rest:
            await asyncio.sleep(0)
        await asyncio.to_thread(helpers.close)
        with pytest.raises(BeyondLimitsError, match="shutting down"):
            await looping
        assert not psutil.pid_exists(pid)

    with pool(max_processes=1) as helpers:
        asyncio.run(story(helpers))
