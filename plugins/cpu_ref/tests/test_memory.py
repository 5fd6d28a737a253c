"""That a step's memory is used again: counted in pages that the system hands out, in a process whose heap is untouched."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tunes glibc's malloc")
_STEPS = """
import ctypes, resource, sys
from vllm_cpu_ref.native.memory import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "tuned" else None)

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.argtypes, libc.memset.argtypes = [ctypes.c_void_p], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
SIZES = [size * 2**20 for size in (1, 6, 3, 1, 2) * 3]  # bytes, as of the activations of a long prompt

def step():
    pieces = [libc.malloc(size) for size in SIZES]
    for piece, size in zip(pieces, SIZES):
        libc.memset(piece, 1, size)
    for piece in pieces:
        libc.free(piece)

for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def _run(tuned: str = "tuned", **environment: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", _STEPS, tuned],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.split()


def test_what_a_step_frees_the_next_one_gets() -> None:
    """Ten steps of 39 MiB are 100,000 pages of 4 KiB, or 200 of 2 MiB."""
    kept, faults = _run()
    assert kept == "True" and int(faults) < 50
    _, faults_untuned = _run(tuned="untuned")
    assert int(faults_untuned) > 100, "glibc keeps it by itself: then there is nothing to tune"


def test_the_users_own_tuning_stands() -> None:
    kept, faults = _run(MALLOC_MMAP_THRESHOLD_="65536")
    assert kept == "False" and int(faults) > 100
