"""How many threads the attention kernel takes: in a process of its own, because a test's own process has long made its choice."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from vllm_cpu_ref.native import library

pytestmark = [
    pytest.mark.skipif(library.kernels() is None, reason="the kernels are not compiled"),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="threads are counted in /proc"),
]
_STEP_IN_A_THREAD = """
import os, threading
import numpy as np
import torch
from vllm.attention.backends.abstract import AttentionBatch, AttentionSpec
from vllm_cpu_ref.native.attention import NativePagedAttention

native, rows = NativePagedAttention(torch.device("cpu")), 16
cache = tuple(torch.zeros(shape) for shape in native.kv_cache_shapes(rows, 512, 2, 64))
tokens = [torch.ones(rows, heads, 64) for heads in (4, 2, 2)]
batch = AttentionBatch(
    query_start_N1=np.arange(rows + 1, dtype=np.int32), seq_lens_N=np.full(rows, 512, np.int32),
    block_table_NB=np.arange(rows, dtype=np.int32)[:, None], slot_mapping_T=np.arange(rows) * 512 + 511,
    num_decode_rows=rows, block_size=512,
)
spec = AttentionSpec(num_heads=4, num_kv_heads=2, head_size=64, scale=0.125)
torch.set_num_threads(2)

def step():
    before = set(os.listdir("/proc/self/task"))
    native.forward(*tokens, cache, native.build_metadata(batch), spec)
    print("helpers", len(set(os.listdir("/proc/self/task")) - before))

thread = threading.Thread(target=step)
thread.start()
thread.join()
"""


def test_a_step_takes_as_many_threads_as_torch_may() -> None:
    """Also in a thread in which torch itself has not computed yet; OpenMP counts for each thread by itself."""
    environment = {**os.environ, "OMP_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", _STEP_IN_A_THREAD],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["helpers 1"], done.stdout + done.stderr
