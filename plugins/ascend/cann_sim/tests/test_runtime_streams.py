"""Owns the tests of streams, events and callbacks where the program is right: all modes give the same."""

from __future__ import annotations

import ctypes
import threading

import pytest
from acl_calls import ON_DEVICE, TO_DEVICE, TO_HOST, Acl, AclError, run

MODES = ["sync", "async", "adversarial:1", "adversarial:2"]
HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


def one_after_the_other(acl: Acl) -> object:
    stream, device = acl.stream(), acl.malloc(4)
    seen = []
    note = HOST_FUNCTION(seen.append)
    for number in range(1, 6):
        acl.fill(device, number, 4, stream)
        acl.call("aclrtLaunchHostFunc", stream, note, number)
    acl.synchronize(stream)
    return seen, acl.read(device, 4)


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_keeps_its_order(mode: str) -> None:
    assert run(one_after_the_other, streams=mode) == [[1, 2, 3, 4, 5], [5, 5, 5, 5]]


def pass_on(acl: Acl) -> object:
    """A ring of three streams, each of which waits for the one before."""
    streams, cells = [acl.stream() for _ in range(3)], [acl.malloc(4) for _ in range(4)]
    events = [acl.event() for _ in range(4)]
    acl.fill(cells[0], 7, 4, streams[0])
    for at, stream in enumerate(streams):
        acl.wait(stream, events[at])  # the first was never recorded: nothing to wait for
        acl.copy(cells[at + 1], cells[at], 4, ON_DEVICE, stream)
        acl.record(events[at + 1], stream)
    acl.call("aclrtSynchronizeEvent", events[3])
    return acl.read(cells[3], 4)


@pytest.mark.parametrize("mode", MODES)
def test_events_order_streams(mode: str) -> None:
    assert run(pass_on, streams=mode) == [7, 7, 7, 7]


def look(acl: Acl) -> object:
    stream, first, last = acl.stream(), acl.event(), acl.event()
    acl.wait(stream, first)  # never recorded: nothing to wait for
    acl.record(first, stream)
    acl.fill(acl.malloc(4), 1, 4, stream)
    acl.record(last, stream)
    looks = 1
    while not acl.asked("aclrtQueryEventStatus", last):
        looks += 1
    while acl.asked("aclrtStreamQuery", stream):
        looks += 1
    elapsed = ctypes.c_float()
    acl.call("aclrtEventElapsedTime", ctypes.byref(elapsed), first, last)
    return looks < 1_000_000, elapsed.value >= 0


@pytest.mark.parametrize("mode", MODES)
def test_polling_comes_to_an_end(mode: str) -> None:
    assert run(look, streams=mode) == [True, True]


def time_too_early(acl: Acl) -> object:
    stream, event = acl.stream(), acl.event()
    acl.record(event, stream)
    return acl.code_of("aclrtEventElapsedTime", ctypes.byref(ctypes.c_float()), event, event)


def test_no_time_before_the_event() -> None:
    assert run(time_too_early, streams="adversarial") == 107006


def hang(acl: Acl) -> object:
    stream, event = acl.stream(), acl.event()
    acl.fill(acl.malloc(4), 1, 4, stream)
    acl.record(event, stream)
    codes = [
        acl.code_of("aclrtSynchronizeStreamWithTimeout", stream, 50),
        acl.code_of("aclrtSynchronizeEventWithTimeout", ctypes.c_void_p(event), 50),
        acl.code_of("aclrtSynchronizeDeviceWithTimeout", 50),
    ]
    acl.call("aclrtDeviceTaskAbort", 0, 0)
    acl.synchronize(stream)
    return codes


@pytest.mark.parametrize("mode", MODES[1:])
def test_waiting_with_a_timeout_ends(mode: str) -> None:
    assert run(hang, streams=mode, faults="aclrtMemsetAsync=hang") == [507046, 507047, 507046]


def call_back(acl: Acl) -> object:
    stream, seen, ended = acl.stream(), [], []
    note = HOST_FUNCTION(lambda number: seen.append((number, threading.get_ident() == worker.ident)))
    refused = acl.code_of("aclrtLaunchCallback", note, 1, 1, stream)

    def serve() -> None:
        while not ended:
            acl.library.aclrtProcessReport(20)

    worker = threading.Thread(target=serve)
    worker.start()
    acl.call("aclrtSubscribeReport", worker.ident, stream)
    acl.call("aclrtLaunchCallback", note, 2, 1, stream)
    acl.synchronize(stream)
    there = list(seen)
    ended.append(True)
    worker.join()
    return refused, there


@pytest.mark.parametrize("mode", MODES)
def test_a_callback_runs_on_the_thread_that_subscribed(mode: str) -> None:
    assert run(call_back, streams=mode) == [107015, [[2, True]]]


def by_value(acl: Acl) -> object:
    number, cell, streams = acl.malloc(8), acl.malloc(4), [acl.stream(), acl.stream()]
    acl.write(number, bytes(8))
    acl.call("aclrtValueWait", number, 3, 0, streams[0])
    acl.fill(cell, 1, 4, streams[0])
    acl.fill(cell, 2, 4, streams[1])
    acl.call("aclrtValueWrite", number, 3, 0, streams[1])
    acl.synchronize(streams[0])
    return acl.read(cell, 4)


@pytest.mark.parametrize("mode", MODES)
def test_a_stream_waits_for_a_number(mode: str) -> None:
    assert run(by_value, streams=mode) == [1, 1, 1, 1]


def pageable(acl: Acl) -> object:
    """The host changes its buffer right after the call."""
    device, host, stream = acl.malloc(4), ctypes.create_string_buffer(b"abcd", 4), acl.stream()
    acl.copy(device, host, 4, TO_DEVICE, stream)
    host.raw = b"wxyz"
    acl.copy(host, device, 4, TO_HOST, stream)
    return host.raw.decode()


@pytest.mark.parametrize("mode", MODES)
def test_a_copy_of_pageable_memory_has_happened_when_the_call_returns(mode: str) -> None:
    assert run(pageable, streams=mode) == "abcd"


def host_to_host(acl: Acl) -> object:
    here = ctypes.addressof(ctypes.create_string_buffer(8))
    return acl.code_of("aclrtMemcpyAsync", here, 4, here + 4, 4, 0, acl.stream())


def test_no_asynchronous_copy_within_the_host() -> None:
    assert run(host_to_host) == 207000


def at_once(acl: Acl) -> object:
    stream, device, pinned = acl.stream(), acl.malloc(4), acl.pinned(4)
    acl.fill(device, 9, 4, stream)
    acl.copy(pinned, device, 4, TO_HOST, stream)
    return list(pinned.raw)


def test_synchronous_streams_have_finished_when_a_call_returns() -> None:
    assert run(at_once, streams="sync") == [9, 9, 9, 9]


def destroy(acl: Acl) -> object:
    stream, device = acl.stream(), acl.malloc(4)
    acl.fill(device, 3, 4, stream)
    acl.call("aclrtDestroyStream", stream)
    return acl.read(device, 4)


@pytest.mark.parametrize("mode", MODES)
def test_destroying_a_stream_finishes_it(mode: str) -> None:
    assert run(destroy, streams=mode) == [3, 3, 3, 3]


def wait_for_failed(acl: Acl) -> object:
    first, second, event = acl.stream(), acl.stream(), acl.event()
    acl.fill(acl.malloc(4), 1, 4, first)
    acl.record(event, first)
    acl.wait(second, event)
    try:
        acl.synchronize(second)
    except AclError as error:
        return error.code, error.message
    return 0, ""


@pytest.mark.parametrize("mode", MODES[1:])
def test_who_waits_for_failed_work_has_failed(mode: str) -> None:
    code, message = run(wait_for_failed, streams=mode, faults="aclrtMemsetAsync=fail")
    assert code == 507015
    assert "aclrtMemsetAsync failed on device 0, stream 1" in message


def destroyed(acl: Acl) -> object:
    stream, cell = acl.stream(), acl.malloc(4)
    acl.call("aclrtDestroyStream", stream)
    return acl.code_of("aclrtMemsetAsync", cell, 4, 1, 4, stream)


def test_a_destroyed_stream_takes_no_work() -> None:
    assert run(destroyed) == 107000


def thrown_away(acl: Acl, how: str) -> object:
    """A stream waits for what never comes; its event is waited for by the host and by another stream."""
    number, stuck, other, event = acl.malloc(8), acl.stream(), acl.stream(), acl.event()
    acl.write(number, bytes(8))
    acl.call("aclrtValueWait", number, 1, 0, stuck)
    acl.record(event, stuck)
    acl.wait(other, event)
    acl.call(how, *((0, 0) if how == "aclrtDeviceTaskAbort" else (stuck,)))
    return acl.code_of("aclrtSynchronizeEvent", event), acl.code_of("aclrtSynchronizeStream", other)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("how", "codes"), [("aclrtDeviceTaskAbort", [107023, 0]), ("aclrtDestroyStreamForce", [107023, 107023])]
)
def test_who_waits_for_work_that_is_thrown_away_wakes(how: str, codes: list[int], mode: str) -> None:
    """An aborted device starts anew; a stream that waited for a destroyed one has failed."""
    assert run(thrown_away, how, streams=mode) == codes
