"""What processes of ours settle with their operating system: what children are told, and how many arenas malloc may have."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from vllm.executor.os_process import child_environment


@pytest.fixture(autouse=True)
def nothing_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)


def test_threads_that_wait_soon_give_up_their_core() -> None:
    assert child_environment()["GOMP_SPINCOUNT"] == "1000"


def test_libgomp_reads_it() -> None:
    """Its own report of what it will do, from a process that loads torch."""
    report = {"OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run(
        [sys.executable, "-c", "import torch"],
        env=child_environment() | report,
        capture_output=True,
        text=True,
        check=True,
    )
    if "GOMP_" not in done.stderr:
        pytest.skip("this torch computes with another library than libgomp")
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "active")])
def test_who_has_decided_is_left_alone(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert child_environment().get("GOMP_SPINCOUNT") == ("7" if name == "GOMP_SPINCOUNT" else None)


ARENAS = """
import ctypes, sys, threading
from vllm.executor.os_process import share_malloc_arenas
share_malloc_arenas()
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.open_memstream.restype = ctypes.c_void_p
libc.fclose.argtypes = [ctypes.c_void_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
together = threading.Barrier(8)
def allocate():
    libc.malloc(100)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
text, size = ctypes.c_char_p(), ctypes.c_size_t()
report = libc.open_memstream(ctypes.byref(text), ctypes.byref(size))
libc.malloc_info(0, report)
libc.fclose(report)
print(text.value.count(b"<heap nr="))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc has arenas in glibc")
@pytest.mark.parametrize(("setting", "arenas"), [({}, range(1, 3)), ({"MALLOC_ARENA_MAX": "64"}, range(8, 65))])
def test_threads_share_few_arenas_unless_somebody_has_decided(setting: dict[str, str], arenas: range) -> None:
    env = {
        key: value for key, value in os.environ.items() if key not in ("MALLOC_ARENA_MAX", "GLIBC_TUNABLES")
    } | setting
    done = subprocess.run([sys.executable, "-c", ARENAS], env=env, capture_output=True, text=True, check=True)
    assert int(done.stdout) in arenas
