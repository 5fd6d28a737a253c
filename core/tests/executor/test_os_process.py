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


MALLOC = """
import ctypes, re, threading
from vllm.executor.os_process import return_freed_memory
return_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
libc.fclose.argtypes = [ctypes.c_void_p]
libc.open_memstream.restype = ctypes.c_void_p
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]

def report():
    text, size = ctypes.c_char_p(), ctypes.c_size_t()
    stream = libc.open_memstream(ctypes.byref(text), ctypes.byref(size))
    libc.malloc_info(0, stream)
    libc.fclose(stream)
    return text.value.decode()

def mapped():
    return int(re.search('type="mmap" count="([0-9]+)"', report())[1])

together = threading.Barrier(8)
def allocate():
    libc.malloc(100)
    together.wait()
threads = [threading.Thread(target=allocate) for _ in range(8)]
for each in threads: each.start()
for each in threads: each.join()
libc.free(libc.malloc(1 << 23))
before = mapped()
libc.malloc(1 << 22)
print(report().count("<heap nr="), mapped() - before)
"""


def malloc_after(setting: dict[str, str]) -> list[int]:
    """Arenas of eight threads; and whether a large piece, after a larger one was freed, is memory of its own (1)."""
    env = {key: value for key, value in os.environ.items() if not key.startswith(("MALLOC_", "GLIBC_"))} | setting
    done = subprocess.run([sys.executable, "-c", MALLOC], env=env, capture_output=True, text=True, check=True)
    return [int(word) for word in done.stdout.split()]


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc has arenas and a moving threshold in glibc")
def test_freed_memory_goes_back_unless_somebody_has_decided() -> None:
    arenas, own = malloc_after({})
    assert arenas <= 2
    assert own == 1
    arenas, own = malloc_after({"MALLOC_ARENA_MAX": "64"})
    assert arenas >= 8
    assert own == 0
