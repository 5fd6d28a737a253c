"""Owns how the C library keeps the memory of activations: a step frees what the next one allocates again.

The core asks for the opposite in the process that speaks HTTP (`return_freed_memory` in vllm.executor.os_process), which computes nothing.
"""

from __future__ import annotations

import ctypes
import os

__all__ = ["keep_freed_memory"]

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""As in glibc's malloc.h."""
_KEPT_BYTES = 2**30
"""Freed at the heap's end and not given back."""
_LARGEST_FROM_HEAP_BYTES = 32 * 2**20
"""Larger pieces are mapped one by one; glibc allows no more."""


def keep_freed_memory() -> bool:
    """Let glibc reuse a step's memory. Else each prompt step gets its megabytes anew, page by page: a tenth of its time.

    Returns:
        Whether it was done: not where the user has tuned malloc by the environment, nor with another C library.
    """
    if any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)) and bool(mallopt(_MMAP_THRESHOLD, _LARGEST_FROM_HEAP_BYTES))
