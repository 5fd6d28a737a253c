"""Owns the tests of what devices say about themselves, and of settings that cannot be understood."""

from __future__ import annotations

import ctypes
import json

import pytest
from acl_calls import Acl, run, start

CUBE_CORES, VECTOR_CORES = 102, 201
BF16 = 1


def describe(acl: Acl) -> object:
    acl.library.aclrtGetSocName.restype = ctypes.c_char_p
    acl.library.cann_sim_settings.restype = ctypes.c_char_p
    cores = []
    for attribute in (CUBE_CORES, VECTOR_CORES):
        value = ctypes.c_int64()
        acl.call("aclrtGetDeviceInfo", 0, attribute, ctypes.byref(value))
        cores.append(value.value)
    bf16 = ctypes.c_int32()
    acl.call("aclGetCannAttribute", BF16, ctypes.byref(bf16))
    return acl.library.aclrtGetSocName().decode(), cores, bf16.value, json.loads(acl.library.cann_sim_settings())


@pytest.mark.parametrize(
    ("soc", "name", "cores", "bf16"),
    [
        ("910B3", "Ascend910B3", [20, 40], 1),
        ("Ascend910_9391", "Ascend910_9391", [24, 48], 1),
        ("310P3", "Ascend310P3", [8, 7], 0),
    ],
)
def test_each_soc_describes_itself(soc: str, name: str, cores: list[int], bf16: int) -> None:
    assert run(describe, soc=soc)[:3] == [name, cores, bf16]


def test_settings_read_back() -> None:
    settings = run(describe, hbm_bytes="3MiB", devices=2, streams="adversarial:9", strict=0, faults="a=fail")[3]
    assert settings == {
        "devices": 2,
        "hbm_bytes": 3 * 2**20,
        "soc_name": "Ascend910B3",
        "cann_version": "8.5.0",
        "streams": "adversarial",
        "seed": 9,
        "strict": False,
        "trace": False,
        "faults": "a=fail",
        "counters_file": "",
    }


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("devices", "0", "1 to 64"),
        ("hbm_bytes", "8GB", "KiB, MiB, GiB"),
        ("streams", "adversarial:x", "adversarial:SEED"),
        ("strict", "yes", "0 or 1"),
        ("soc", "H100", "Ascend910B3"),
        ("faults", "aclnnMatmul", "is no rule"),
    ],
)
def test_a_setting_that_means_nothing_ends_the_process(name: str, value: str, expected: str) -> None:
    ended = start(describe, **{name: value})
    assert ended.returncode == 78
    assert f"CANN_SIM_{name.upper()}={value} cannot be understood" in ended.stderr
    assert expected in ended.stderr


def trace(acl: Acl) -> object:
    stream = acl.stream()
    acl.fill(acl.malloc(16), 1, 16, stream)
    acl.synchronize(stream)
    return None


def test_the_trace_names_call_and_run() -> None:
    lines = [line for line in start(trace, trace=1).stderr.splitlines() if "Memset" in line]
    assert lines == [
        "[cann_sim] call on device 0: aclrtMemsetAsync 16 bytes",
        "[cann_sim] run on device 0, stream 1: aclrtMemsetAsync 16 bytes",
    ]
