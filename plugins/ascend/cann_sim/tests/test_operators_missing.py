"""What is not simulated says so: an operator by name, and a torch operation that torch_npu sends to the CPU by a warning of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from on_npu import NPU, counted, torch, torch_npu


def test_an_operator_that_is_not_simulated_raises_with_its_name() -> None:
    x = torch.zeros(1, 1, 2, 64, dtype=torch.float16, device=NPU)
    with pytest.raises(RuntimeError, match="aclnnInterleaveRope"):
        torch_npu.npu_interleave_rope(x, x, x)
    with pytest.raises(RuntimeError, match=r"the operator 'Erfinv' .* is not simulated"):
        torch.erfinv(torch.zeros(3, device=NPU))


def test_variants_that_are_not_simulated_are_refused() -> None:
    x = torch.zeros(4, 8, dtype=torch.float16, device=NPU)
    groups = torch.tensor([2, 4], dtype=torch.int32, device=NPU)
    smooth = torch.ones(2, 8, dtype=torch.float16, device=NPU)
    with pytest.raises(RuntimeError, match="is not simulated"):
        torch_npu.npu_dynamic_quant(x, smooth_scales=smooth, group_index=groups)


def test_an_operation_that_falls_back_to_the_cpu_is_seen() -> None:
    """torch_npu warns once per process; beside it, the copies to the host and back are counted."""
    code = "from on_npu import NPU, torch; torch.special.bessel_j0(torch.ones(3, device=NPU))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=True
    )
    assert "bessel_j0" in done.stderr
    assert "fall back to run on the CPU" in done.stderr
    x = torch.ones(3, device=NPU)
    calls = counted(lambda: torch.special.bessel_j0(x))
    assert sum(count for name, count in calls.items() if name.startswith("aclrtMemcpy")) >= 2, calls
