"""Owns the tests of faults and of the error state: what is reported, to whom, and for how long."""

from __future__ import annotations

import pytest
from acl_calls import OUT_OF_MEMORY, Acl, AclError, run

MODES = ["async", "adversarial:1"]


def message_of(acl: Acl, name: str, *arguments: object) -> tuple[int, str]:
    try:
        acl.call(name, *arguments)
    except AclError as error:
        return error.code, error.message
    return 0, ""


def check(acl: Acl, rules: list[str]) -> object:
    acl.library.cann_sim_check_faults.restype = acl.library.cann_sim_set_faults.restype
    return [acl.library.cann_sim_check_faults(rule.encode()).decode() for rule in rules]


GOOD = [
    "",
    "aclnnMatmul#3=fail",
    "aclnn*=slow:5ms",
    "*@1#100+=lost",
    " Hccl*=timeout ; aclrtMalloc#2-4=oom;",
    "*=hang",
    "aclrtMemcpy=refuse",
]
BAD = {
    "aclnnMatmul": "is no rule",
    "aclnnMatmul=explode": "there is no action 'explode'",
    "a=slow": "a time belongs to slow",
    "a=fail:5ms": "a time belongs to slow",
    "a#0=fail": "matches are counted from 1",
    "a#3-2=fail": "a range goes upwards",
    "a=fail;b": "'b' is no rule",
}


def test_the_grammar() -> None:
    assert run(check, GOOD) == [""] * len(GOOD)
    for rule, answer in zip(BAD, run(check, list(BAD)), strict=True):
        assert BAD[rule] in answer, rule


def fail(acl: Acl) -> object:
    stream, cell = acl.stream(), acl.malloc(4)
    for value in (1, 2, 3):
        acl.fill(cell, value, 4, stream)
    told = [message_of(acl, "aclrtSynchronizeStream", stream) for _ in range(2)]
    told.append(message_of(acl, "aclrtSynchronizeDevice"))
    seen = acl.read(cell, 1)
    acl.call("aclrtDeviceTaskAbort", 0, 0)
    acl.fill(cell, 4, 4, stream)
    acl.synchronize(stream)
    return told, seen, acl.read(cell, 1)


@pytest.mark.parametrize("mode", MODES)
def test_after_a_failure_the_stream_stops_and_every_synchronise_says_so(mode: str) -> None:
    told, seen, after = run(fail, streams=mode, faults="aclrtMemsetAsync#2=fail")
    for code, message in told:
        assert code == 507015
        assert "aclrtMemsetAsync failed on device 0, stream 1: the kernel raised an exception" in message
        assert "fault rule 'aclrtMemsetAsync#2=fail'" in message
    assert seen == [1], "what was queued behind the failure did not run"
    assert after == [4], "an abort of the device's tasks makes a fresh start"


def fail_at_once(acl: Acl) -> object:
    stream, cell = acl.stream(), acl.malloc(4)
    first = message_of(acl, "aclrtMemsetAsync", cell, 4, 1, 4, stream)
    told = acl.code_of("aclrtSynchronizeStream", stream)
    acl.fill(cell, 2, 4, stream)
    acl.synchronize(stream)
    return first, told, acl.read(cell, 1)


def test_a_synchronous_stream_fails_at_the_launch_and_goes_on_when_told() -> None:
    first, told, seen = run(fail_at_once, streams="sync", faults="aclrtMemsetAsync#1=fail")
    assert first[0] == told == 507015
    assert "aclrtMemsetAsync failed on device 0, stream 1" in first[1]
    assert seen == [2]


def lose(acl: Acl) -> object:
    streams, cell = [acl.stream(), acl.stream()], acl.malloc(4)
    acl.fill(cell, 1, 4, streams[0])
    first = message_of(acl, "aclrtSynchronizeStream", streams[0])
    acl.call("aclrtDeviceTaskAbort", 0, 0)
    other = acl.code_of("aclrtSynchronizeStream", streams[1])
    launch = acl.code_of("aclrtMemsetAsync", cell, 4, 2, 4, streams[1])
    acl.call("aclrtSetDevice", 1)
    elsewhere = acl.stream()
    acl.fill(acl.malloc(4), 2, 4, elsewhere)
    return first, other, launch, acl.code_of("aclrtSynchronizeStream", elsewhere)


@pytest.mark.parametrize("mode", MODES)
def test_a_lost_device_stays_lost_and_the_other_one_works(mode: str) -> None:
    first, other, launch, elsewhere = run(lose, streams=mode, devices=2, faults="*@0#1=lost")
    assert first[0] == other == launch == 507010
    assert "device 0 was lost in aclrtMemsetAsync on device 0, stream 1" in first[1]
    assert elsewhere == 0


def at_call(acl: Acl) -> object:
    first, second = acl.code_of("aclrtMalloc", *_malloc()), message_of(acl, "aclrtMalloc", *_malloc())
    stream, cell = acl.stream(), acl.malloc(4)
    refused = message_of(acl, "aclrtMemsetAsync", cell, 4, 1, 4, stream)
    acl.synchronize(stream)
    return first, second, refused


def _malloc() -> tuple[object, int, int]:
    import ctypes

    return ctypes.byref(ctypes.c_void_p()), 16, 0


def test_faults_of_the_call_itself() -> None:
    first, second, refused = run(at_call, faults="aclrtMalloc#2=oom;aclrtMemsetAsync=refuse")
    assert first == 0
    assert second[0] == OUT_OF_MEMORY
    assert "aclrtMalloc on device 0 is out of memory by the fault rule 'aclrtMalloc#2=oom'" in second[1]
    assert refused[0] == 107000


def rules_at_run_time(acl: Acl) -> object:
    stream, cell = acl.stream(), acl.malloc(4)
    acl.fill(cell, 1, 4, stream)
    wrong = acl.library.cann_sim_set_faults(b"nonsense").decode()
    acl.library.cann_sim_set_faults(b"aclrtMemsetAsync#1=timeout")
    acl.fill(cell, 2, 4, stream)
    code = acl.code_of("aclrtSynchronizeStream", stream)
    acl.library.cann_sim_set_faults(b"")
    acl.call("aclrtDeviceTaskAbort", 0, 0)
    acl.fill(cell, 3, 4, stream)
    acl.synchronize(stream)
    return wrong, code, acl.read(cell, 1)


def test_rules_change_while_the_program_runs() -> None:
    wrong, code, seen = run(rules_at_run_time)
    assert "is no rule" in wrong
    assert (code, seen) == (107020, [3])


def replayed(acl: Acl) -> object:
    stream, cell = acl.stream(), acl.malloc(4)
    acl.begin(stream)
    acl.fill(cell, 1, 4, stream)
    graph = acl.end(stream)
    codes = []
    for _ in range(3):
        acl.replay(graph, stream)
        codes.append(acl.code_of("aclrtSynchronizeStream", stream))
    return codes


def test_replays_count_as_executions() -> None:
    assert run(replayed, faults="aclrtMemsetAsync#2=fail") == [0, 507015, 507015]


def count(acl: Acl) -> object:
    stream, cell = acl.stream(), acl.malloc(8192)
    acl.fill(cell, 1, 100, stream)
    acl.fill(cell, 1, 28, stream)
    acl.synchronize(stream)
    before = acl.counters()
    acl.call("aclrtFree", cell)
    acl.library.cann_sim_reset_counters()
    return before, acl.counters()


def test_counters_count_and_are_reset() -> None:
    before, after = run(count)
    assert before["operations"]["aclrtMemsetAsync"] == {"calls": 2, "launches": 2, "bytes": 128}
    assert (before["launches"], before["bytes"], before["graph_launches"]) == (2, 128, 0)
    assert before["memory"][0]["peak_bytes"] == 8192
    assert (after["operations"], after["launches"], after["memory"][0]["peak_bytes"]) == ({}, 0, 0)
