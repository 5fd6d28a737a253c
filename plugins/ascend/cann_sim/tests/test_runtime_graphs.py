"""Owns the tests of graphs: capture, replay, task groups and their update, external events, and what a capture forbids."""

from __future__ import annotations

import ctypes
import threading
from pathlib import Path

import pytest
from acl_calls import EXTERNAL, GLOBAL, ON_DEVICE, RELAXED, THREAD_LOCAL, TO_DEVICE, Acl, AclError, run

SIZE = 16
MODES = ["sync", "async", "adversarial:1"]


def capture_and_replay(acl: Acl) -> object:
    stream, source, target = acl.stream(), acl.malloc(SIZE), acl.malloc(SIZE)
    acl.call("aclrtMemset", target, SIZE, 0, SIZE)
    acl.begin(stream)
    acl.fill(source, 4, SIZE, stream)
    acl.copy(target, source, SIZE, ON_DEVICE, stream)
    graph = acl.end(stream)
    before = acl.read(target, 1)
    acl.library.cann_sim_reset_counters()
    for _ in range(3):
        acl.replay(graph, stream)
    acl.call("aclmdlRIDestroy", graph)  # replays that are under way go on
    acl.synchronize(stream)
    counted = acl.counters()
    return before, acl.read(target, 1), counted["graph_launches"], counted["operations"]


@pytest.mark.parametrize("mode", MODES)
def test_a_graph_runs_when_it_is_replayed_and_is_counted(mode: str) -> None:
    before, after, launches, operations = run(capture_and_replay, streams=mode)
    assert (before, after, launches) == ([0], [4], 3)
    assert operations["aclmdlRIExecuteAsync"]["calls"] == 3
    assert operations["aclrtMemsetAsync"] == {"calls": 0, "launches": 3, "bytes": 3 * SIZE}


def branches(acl: Acl) -> object:
    """Two streams join the capture through events; each writes its half."""
    whole, main, sides = acl.malloc(2), acl.stream(), [acl.stream(), acl.stream()]
    fork, joins = acl.event(), [acl.event(), acl.event()]
    acl.begin(main)
    acl.fill(whole, 1, 2, main)
    acl.record(fork, main)
    for at, side in enumerate(sides):
        acl.wait(side, fork)
        acl.fill(whole + at, 2 + at, 1, side)
        acl.record(joins[at], side)
        acl.wait(main, joins[at])
    graph = acl.end(main)
    acl.replay(graph, main)
    acl.synchronize(main)
    acl.fill(whole, 9, 2, sides[0])  # the side stream is its own master again
    acl.synchronize(sides[0])
    after = acl.read(whole, 2)
    acl.replay(graph, main)
    acl.synchronize(main)
    return after, acl.read(whole, 2)


@pytest.mark.parametrize("mode", MODES)
def test_streams_join_a_capture_through_events(mode: str) -> None:
    assert run(branches, streams=mode) == [[9, 9], [2, 3]]


def unjoined(acl: Acl) -> object:
    main, side, fork = acl.stream(), acl.stream(), acl.event()
    acl.begin(main)
    acl.record(fork, main)
    acl.wait(side, fork)
    acl.fill(acl.malloc(4), 1, 4, side)
    return acl.code_of("aclmdlRICaptureEnd", main, ctypes.byref(ctypes.c_void_p()))


def test_a_stream_that_is_not_waited_for_spoils_the_capture() -> None:
    assert run(unjoined) == 107025


def update(acl: Acl) -> object:
    """As the vendor's plugin decodes: replay first, then give each task group its arguments and let it go."""
    cell, main, updating, go = acl.malloc(SIZE), acl.stream(), acl.stream(), acl.event(EXTERNAL)
    acl.begin(main)
    acl.wait(main, go)
    acl.call("aclrtResetEvent", go, main)
    acl.call("aclmdlRICaptureTaskGrpBegin", main)
    acl.fill(cell, 1, SIZE, main)
    group = ctypes.c_void_p()
    acl.call("aclmdlRICaptureTaskGrpEnd", main, ctypes.byref(group))
    graph = acl.end(main)
    seen = []
    for value in (5, 6, 7):
        acl.replay(graph, main)
        acl.call("aclmdlRICaptureTaskUpdateBegin", updating, group)
        acl.fill(cell, value, SIZE, updating)
        acl.call("aclmdlRICaptureTaskUpdateEnd", updating)
        acl.record(go, updating)
        acl.synchronize(main)
        seen += acl.read(cell, 1)
    return seen


@pytest.mark.parametrize("mode", MODES)
def test_a_task_group_is_updated_between_replays(mode: str) -> None:
    assert run(update, streams=mode) == [5, 6, 7]


def update_with_another_operation(acl: Acl) -> object:
    cells, main, updating = [acl.malloc(4), acl.malloc(4)], acl.stream(), acl.stream()
    acl.begin(main)
    acl.call("aclmdlRICaptureTaskGrpBegin", main)
    acl.fill(cells[0], 1, 4, main)
    group = ctypes.c_void_p()
    acl.call("aclmdlRICaptureTaskGrpEnd", main, ctypes.byref(group))
    acl.end(main)
    acl.call("aclmdlRICaptureTaskUpdateBegin", updating, group)
    acl.copy(cells[0], cells[1], 4, ON_DEVICE, updating)
    try:
        acl.call("aclmdlRICaptureTaskUpdateEnd", updating)
    except AclError as error:
        return error.code, error.message
    return 0, ""


def test_an_update_changes_arguments_only() -> None:
    code, message = run(update_with_another_operation)
    assert code == 107040
    assert "[aclrtMemsetAsync] cannot be updated with [aclrtMemcpyAsync]" in message


def forbidden(acl: Acl, what: str) -> object:
    stream, device, event, host = acl.stream(), acl.malloc(16), acl.event(), ctypes.create_string_buffer(16)
    other = acl.event()
    acl.record(other, acl.stream())
    here, status = ctypes.addressof(host), ctypes.byref(ctypes.c_int32())
    acl.begin(stream)
    acl.record(event, stream)
    calls = {
        "synchronise the stream": ("aclrtSynchronizeStream", stream),
        "synchronise the device": ("aclrtSynchronizeDevice",),
        "query the stream": ("aclrtStreamQuery", stream, status),
        "query a captured event": ("aclrtQueryEventStatus", event, status),
        "synchronise a captured event": ("aclrtSynchronizeEvent", event),
        "copy at once": ("aclrtMemcpy", device, 16, here, 16, TO_DEVICE),
        "fill at once": ("aclrtMemset", device, 16, 0, 16),
        "copy pageable memory": ("aclrtMemcpyAsync", device, 16, here, 16, TO_DEVICE, stream),
        "wait for an event from outside": ("aclrtStreamWaitEvent", stream, other),
        "work on the default stream": ("aclrtMemsetAsync", device, 16, 0, 16, None),
        "destroy the stream": ("aclrtDestroyStream", stream),
    }
    refused = acl.code_of(*calls[what])
    ended = acl.code_of("aclmdlRICaptureEnd", stream, ctypes.byref(ctypes.c_void_p()))
    acl.fill(device, 3, 16, stream)  # the stream works again
    acl.synchronize(stream)
    return refused, ended, acl.read(device, 1)


FORBIDDEN = {
    "synchronise the stream": 107027,
    "synchronise the device": 107027,
    "query the stream": 107027,
    "query a captured event": 107028,
    "synchronise a captured event": 107028,
    "copy at once": 107030,
    "fill at once": 107030,
    "copy pageable memory": 107041,
    "wait for an event from outside": 107024,
    "work on the default stream": 107031,
    "destroy the stream": 107027,
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_what_a_capture_forbids_is_refused_and_spoils_it(what: str) -> None:
    assert run(forbidden, what) == [FORBIDDEN[what], 507903, [3]]


def allowed(acl: Acl, mode: int) -> object:
    """An unsafe call in the capturing thread, in another one, and in the capturing one that asked for leave."""
    stream, device, codes = acl.stream(), acl.malloc(16), []

    def fill() -> None:
        codes.append(acl.code_of("aclrtMemset", device, 16, 0, 16))

    for who in ("another thread", "this thread, relaxed", "this thread"):
        acl.begin(stream, mode)
        leave = ctypes.c_int32(RELAXED)
        if who == "another thread":
            thread = threading.Thread(target=fill)
            thread.start()
            thread.join()
        elif who == "this thread":
            fill()
        else:
            acl.call("aclmdlRICaptureThreadExchangeMode", ctypes.byref(leave))
            fill()
            acl.call("aclmdlRICaptureThreadExchangeMode", ctypes.byref(leave))
        acl.code_of("aclmdlRICaptureEnd", stream, ctypes.byref(ctypes.c_void_p()))
    return codes


@pytest.mark.parametrize(
    ("mode", "codes"), [(GLOBAL, [107030, 0, 107030]), (THREAD_LOCAL, [0, 0, 107030]), (RELAXED, [0, 0, 0])]
)
def test_the_mode_says_who_may_do_what(mode: int, codes: list[int]) -> None:
    assert run(allowed, mode) == codes


def end_wrongly(acl: Acl) -> object:
    stream, other, codes = acl.stream(), acl.stream(), []

    def end(which: int) -> None:
        codes.append(acl.code_of("aclmdlRICaptureEnd", which, ctypes.byref(ctypes.c_void_p())))

    end(stream)
    acl.begin(stream)
    codes.append(acl.code_of("aclmdlRICaptureBegin", stream, GLOBAL))
    thread = threading.Thread(target=end, args=(stream,))
    thread.start()
    thread.join()
    fork = acl.event()
    acl.record(fork, stream)
    acl.wait(other, fork)
    end(other)
    return codes


def test_a_capture_ends_where_it_began() -> None:
    assert run(end_wrongly) == [107029, 107027, 107038, 107036]


def malloc_while_capturing(acl: Acl) -> object:
    stream = acl.stream()
    acl.begin(stream)
    acl.fill(acl.malloc(4096), 1, 4, stream)
    return acl.end(stream) != 0


def test_memory_may_be_allocated_while_capturing() -> None:
    assert run(malloc_while_capturing)


def threads() -> int:
    """Of this process, the runtime's included."""
    return len(list(Path("/proc/self/task").iterdir()))


def threads_of_a_branch(acl: Acl) -> object:
    """A replayed branch runs on a thread of its own. Comes back when that has ended; the runner limits the time."""
    main, side, cell, fork, join = acl.stream(), acl.stream(), acl.malloc(4), acl.event(), acl.event()
    acl.begin(main)
    acl.record(fork, main)
    acl.wait(side, fork)
    acl.fill(cell, 5, 4, side)
    acl.record(join, side)
    acl.wait(main, join)
    graph = acl.end(main)
    acl.fill(cell, 1, 4, main)  # starts the thread of the stream itself
    acl.synchronize(main)
    before = threads()
    acl.replay(graph, main)
    acl.call("aclmdlRIDestroy", graph)
    acl.synchronize(main)
    while threads() > before:
        threading.Event().wait(0.01)
    return acl.read(cell, 4)


@pytest.mark.parametrize("mode", MODES)
def test_a_graph_takes_the_threads_of_its_branches_along(mode: str) -> None:
    assert run(threads_of_a_branch, streams=mode) == [5, 5, 5, 5]
