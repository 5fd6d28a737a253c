"""Owns putting a test process on the simulator, and comparing what the simulated NPU computes with what torch's CPU does.

Import it before torch. Operators run when they are called, one after the other, so that an error names the line that caused it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import pytest

if find_spec("torch_npu") is None:
    pytest.skip("torch_npu is not installed", allow_module_level=True)

before = dict(os.environ)
os.environ["TORCH_DEVICE_BACKEND_AUTOLOAD"] = "0"
os.environ["TASK_QUEUE_ENABLE"] = "0"

import cann_sim  # noqa: E402

cann_sim.activate(streams="sync")

import torch  # noqa: E402  after the simulator: torch_npu looks for its libraries when it is imported
import torch_npu  # noqa: E402

__all__ = ["NPU", "agrees", "counted", "to_npu", "torch", "torch_npu"]

NPU = torch.device("npu:0")
torch.npu.config.allow_internal_format = True  # weights in FRACTAL_NZ
torch.ones(1, device=NPU)  # by now everything has read its variables: other tests' processes must not inherit them
os.environ.clear()
os.environ.update(before)


def to_npu(value: Any) -> Any:
    """The same tensors, strides included, on the NPU; lists and tuples are walked."""
    if isinstance(value, torch.Tensor):
        return _same_strides(value)
    if isinstance(value, list | tuple):
        return type(value)(to_npu(item) for item in value)
    return value


def _same_strides(tensor: torch.Tensor) -> torch.Tensor:
    storage = torch.empty(0, dtype=tensor.dtype).set_(tensor.untyped_storage())
    return storage.to(NPU).as_strided(tensor.size(), tensor.stride(), tensor.storage_offset())


def agrees(function: Callable[..., Any], *inputs: Any, tolerance: float = 0.0) -> None:
    """`function` gives on NPU tensors what it gives on CPU tensors; an input that it changes is changed alike."""
    on_cpu = [item.clone() if isinstance(item, torch.Tensor) and item.is_contiguous() else item for item in inputs]
    on_npu = [to_npu(item) for item in inputs]
    wanted, found = function(*on_cpu), function(*on_npu)
    for want, have in zip(_tensors([wanted, on_cpu]), _tensors([found, on_npu]), strict=True):
        torch.testing.assert_close(have.cpu(), want, atol=tolerance, rtol=tolerance, equal_nan=True)


def _tensors(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in _tensors(item)]
    return [] if value is None else [torch.as_tensor(value)]


def counted(function: Callable[[], Any]) -> dict[str, int]:
    """How often each operation was asked for meanwhile."""
    torch.npu.synchronize()
    with cann_sim.counting() as during:
        function()
        torch.npu.synchronize()
    return {name: operation.calls for name, operation in during.counters.operations.items() if operation.calls}
