"""That a step's memory is used again: counted in pages that the system hands out, in a process whose heap is untouched."""

from __future__ import annotations

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


def _run(**environment: str) -> list[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", _STEPS],
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
