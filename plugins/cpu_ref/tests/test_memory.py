"""That a step's memory is used again: counted in pages that the system hands out, in a process whose heap is untouched."""

from __future__ import annotations

import ctypes
import os
import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="tunes glibc's malloc")
_STEPS = """
import resource, torch
from vllm_cpu_ref.memory import keep_freed_memory
print(keep_freed_memory())

def step():
    tensors = [torch.ones(size * 2**18) for size in (1, 6, 3, 1, 2)]  # as many megabytes as activations of a long prompt

for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

_WEIGHTS = """
import ctypes, torch
from vllm_cpu_ref.memory import keep_freed_memory
from vllm_cpu_ref.native.linear import panels

print(keep_freed_memory())
panels(torch.ones(64, 64, dtype=torch.bfloat16))

class Heap(ctypes.Structure):  # glibc's mallinfo2
    _fields_ = [(f"field_{i}", ctypes.c_size_t) for i in range(8)] + [("free", ctypes.c_size_t), ("end", ctypes.c_size_t)]

heap = ctypes.CDLL(None).mallinfo2
heap.restype = Heap
weights = [torch.ones(2048, 512, dtype=torch.bfloat16) for _ in range(32)]
before = heap().free
for i in range(len(weights)):
    weights[i] = panels(weights[i])
print((heap().free - before) // 2**20)
"""


def _run(steps: str = _STEPS, **environment: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", steps],
        env={**kept, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    return done.stdout.split()


def test_what_a_step_frees_the_next_one_gets() -> None:
    kept, faults = _run()
    assert kept == "True"
    assert int(faults) < 1000, "13 MiB a step are 3,300 pages"


def test_the_users_own_tuning_stands() -> None:
    """Ten steps are 33,000 pages where each is mapped anew: so the other test can fail."""
    kept, faults = _run(MALLOC_MMAP_THRESHOLD_="65536")
    assert kept == "False" and int(faults) > 10_000


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="asks a glibc from 2.33 on")
def test_packing_leaves_no_holes_between_the_weights() -> None:
    kept, holes_MiB = _run(_WEIGHTS)
    assert kept == "True"
    assert int(holes_MiB) <= 16, "32 weights are 64 MiB"
