"""Owns the translation of a device's failure into words: what was being done, and what the allocator or the platform makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from vllm.errors import DeviceError, OutOfMemoryError

if TYPE_CHECKING:
    from vllm.platforms import Platform

__all__ = ["memory_errors_explained"]

HOST_ALLOCATOR_WORDS = "can't allocate memory"
"""torch's host allocator raises a plain RuntimeError with these words."""


@contextmanager
def memory_errors_explained(platform: Platform, activity: str) -> Iterator[None]:
    """Raise OutOfMemoryError where memory runs out inside, DeviceError where the platform says that its device failed, both naming the
    activity; other errors pass."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if _is_out_of_memory(error):
            raise _explained(platform, activity, error) from error
        fault = platform.device_fault(error)
        if fault is None:
            raise
        raise DeviceError(f"{fault.what}, in {activity}.", cause=fault.cause, remedy=fault.remedy) from error


def _is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or HOST_ALLOCATOR_WORDS in str(error)


def _explained(platform: Platform, activity: str, error: Exception) -> OutOfMemoryError:
    free_bytes, total_bytes = platform.memory_info(_current_device(platform))
    first_line = (str(error).splitlines() or [type(error).__name__])[0]
    return OutOfMemoryError(
        f"Memory ran out in {activity}: {free_bytes / 2**20:,.0f} of {total_bytes / 2**20:,.0f} MiB are free now ({first_line})",
        cause="the KV cache leaves too little for a step's activations, or another program took memory after the start",
        remedy=(
            "lower --max-num-batched-tokens or --max-num-seqs, or make the cache smaller: lower "
            "--gpu-memory-utilization, --kv-cache-memory-bytes, or on a CPU VLLM_CPU_KVCACHE_SPACE"
        ),
    )


def _current_device(platform: Platform) -> int:
    """Index of the device that this process works on."""
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None or accelerator.type != platform.device_type:
        return 0
    return torch.accelerator.current_device_index()
