"""Owns the tests of device memory: limits, ranges, kinds of copies, the guard, virtual memory."""

from __future__ import annotations

import ctypes
import signal

import pytest
from acl_calls import INVALID, OUT_OF_MEMORY, TO_DEVICE, TO_HOST, Acl, AclError, run, start

MIB = 2**20


def fill_up(acl: Acl) -> object:
    first = acl.malloc(3 * MIB)
    code = acl.code_of("aclrtMalloc", ctypes.byref(ctypes.c_void_p()), 2 * MIB, 0)
    acl.call("aclrtFree", first)
    return code, acl.free_bytes(), acl.malloc(4 * MIB) != 0, acl.free_bytes(), acl.counters()["memory"]


def test_memory_is_limited_and_comes_back() -> None:
    code, free, fits, left, memory = run(fill_up, hbm_bytes="4MiB")
    assert (code, free, fits, left) == (OUT_OF_MEMORY, 4 * MIB, True, 0)
    assert memory == [{"device": 0, "allocated_bytes": 4 * MIB, "peak_bytes": 4 * MIB, "total_bytes": 4 * MIB}]


def each_device(acl: Acl) -> object:
    free = []
    for device in (0, 1):
        acl.call("aclrtSetDevice", device)
        acl.malloc((device + 1) * MIB)
        free.append(acl.free_bytes())
    return free, acl.code_of("aclrtSetDevice", 2)


def test_devices_have_memory_of_their_own() -> None:
    assert run(each_device, devices=2, hbm_bytes="4MiB") == [[3 * MIB, 2 * MIB], 107001]


def copy_wrongly(acl: Acl, what: str) -> object:
    device, host = acl.malloc(4096), ctypes.create_string_buffer(8192)
    here = ctypes.addressof(host)
    copies = {
        "host as device": (here, 16, here, 16, TO_DEVICE),
        "device as host": (device, 16, device, 16, TO_HOST),
        "past the end": (device, 8192, here, 8192, TO_DEVICE),
        "from the middle past the end": (here, 4096, device + 16, 4096, TO_HOST),
        "no room": (device, 8, here, 16, TO_DEVICE),
    }
    if what == "freed":
        acl.call("aclrtFree", device)
        copies[what] = (device, 16, here, 16, TO_DEVICE)
    try:
        acl.call("aclrtMemcpy", *copies[what])
    except AclError as error:
        return error.code, error.message
    return 0, ""


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("host as device", "is no device memory"),
        ("device as host", "is device memory, but the kind of the copy says host"),
        ("past the end", "ends behind its allocation (after 4096 bytes)"),
        ("from the middle past the end", "ends behind its allocation (after 4080 bytes)"),
        ("no room", "of 16 bytes to a target of 8"),
        ("freed", "was freed"),
    ],
)
def test_a_wrong_copy_is_refused(what: str, said: str) -> None:
    code, message = run(copy_wrongly, what)
    assert code == INVALID
    assert said in message


def touch(acl: Acl) -> object:
    return list(ctypes.string_at(acl.malloc(4096) + 5, 2))


def test_the_host_cannot_touch_device_memory() -> None:
    done = start(touch)
    assert done.returncode == -signal.SIGSEGV
    assert "host code touched device memory at 0x" in done.stderr
    assert "byte 5 of an allocation of 4096 bytes on device 0" in done.stderr


def test_without_strict_memory_is_plain_and_zeroed() -> None:
    assert run(touch, strict=0) == [0, 0]


def fresh(acl: Acl) -> object:
    address = acl.malloc(40 * MIB)
    return [acl.read(address + at, 1) for at in (0, 35 * MIB, 40 * MIB - 1)]


def test_fresh_memory_is_no_zeros() -> None:
    assert run(fresh) == [[255], [255], [255]]


def free_too_early(acl: Acl) -> object:
    stream, device = acl.stream(), acl.malloc(4096)
    acl.fill(device, 1, 4096, stream)
    acl.call("aclrtFree", device)
    acl.synchronize(stream)
    return "not noticed"


def test_work_on_freed_memory_faults() -> None:
    done = start(free_too_early, streams="adversarial")
    assert done.returncode == -signal.SIGSEGV
    assert "a simulated operator in aclrtMemsetAsync touched device memory" in done.stderr
    assert "which was freed" in done.stderr


def free_twice(acl: Acl) -> object:
    device = acl.malloc(4096)
    acl.call("aclrtFree", device)
    return acl.code_of("aclrtFree", device), acl.code_of("aclrtFree", 4096)


def test_a_free_of_nothing_is_refused() -> None:
    assert run(free_twice) == [INVALID, INVALID]


class PhysicalProperty(ctypes.Structure):
    """aclrtPhysicalMemProp."""

    _fields_ = [
        ("handle_type", ctypes.c_int),
        ("allocation_type", ctypes.c_int),
        ("attribute", ctypes.c_int),
        ("device", ctypes.c_uint32),
        ("location_type", ctypes.c_int),
        ("reserve", ctypes.c_uint64),
    ]


def map_two(acl: Acl) -> object:
    kind = ctypes.byref(PhysicalProperty(location_type=1))
    base = acl.made("aclrtReserveMemAddress", 8 * MIB, 0, None, 0)
    pieces = [acl.made("aclrtMallocPhysical", 2 * MIB, kind, 0) for _ in range(2)]
    for at, piece in enumerate(pieces):
        acl.call("aclrtMapMem", base + at * 2 * MIB, 2 * MIB, 0, piece, 0)
    acl.write(base + 2 * MIB - 2, b"abcd")
    seen = bytes(acl.read(base + 2 * MIB - 2, 4)).decode()
    over = acl.code_of("aclrtMapMem", base + 7 * MIB, 2 * MIB, 0, pieces[0], 0)
    twice = acl.code_of("aclrtMapMem", base, 2 * MIB, 0, pieces[1], 0)
    full = acl.code_of("aclrtMallocPhysical", ctypes.byref(ctypes.c_void_p()), 2 * MIB, kind, 0)
    acl.call("aclrtFreePhysical", pieces[0])
    still_used = acl.free_bytes()
    acl.call("aclrtUnmapMem", base)
    hole = acl.code_of("aclrtMemset", base, 16, 0, 16)
    return seen, over, twice, full, still_used, acl.free_bytes(), hole, acl.read(base + 2 * MIB, 2)


def test_virtual_memory_is_mapped_and_unmapped_piece_by_piece() -> None:
    seen, over, twice, full, still_used, free, hole, kept = run(map_two, hbm_bytes="4MiB")
    assert seen == "abcd"
    assert (over, twice, full, hole) == (INVALID, INVALID, OUT_OF_MEMORY, INVALID)
    assert (still_used, free) == (0, 2 * MIB), "physical memory goes with its last mapping"
    assert bytes(kept) == b"cd"


def other_mapping(acl: Acl) -> object:
    kind = ctypes.byref(PhysicalProperty(location_type=1))
    piece = acl.made("aclrtMallocPhysical", 2 * MIB, kind, 0)
    places = [acl.made("aclrtReserveMemAddress", 2 * MIB, 0, None, 0) for _ in range(2)]
    for place in places:
        acl.call("aclrtMapMem", place, 2 * MIB, 0, piece, 0)
    acl.write(places[0], b"xy")
    return bytes(acl.read(places[1], 2)).decode()


def test_two_mappings_show_the_same_memory() -> None:
    assert run(other_mapping) == "xy"


def absurd(acl: Acl) -> object:
    """Rounded up, these sizes begin again at zero."""
    most = 2**64 - 1
    place = ctypes.byref(ctypes.c_void_p())
    return acl.code_of("aclrtMalloc", place, most, 0), acl.code_of("aclrtReserveMemAddress", place, most, 0, None, 0)


@pytest.mark.parametrize("strict", [0, 1])
def test_sizes_that_overflow_are_refused(strict: int) -> None:
    assert run(absurd, strict=strict) == [OUT_OF_MEMORY, OUT_OF_MEMORY]
