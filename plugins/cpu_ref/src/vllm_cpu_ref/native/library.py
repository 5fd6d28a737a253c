"""Owns finding the compiled kernels: once per process, with the reason where they cannot be used."""

from __future__ import annotations

import functools
import os
from typing import Any

import torch

__all__ = ["TYPES", "kernels"]

VARIABLE = "VLLM_CPU_REF_NATIVE"
TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
"""`Type` in arguments.h."""


@functools.cache
def kernels() -> Any | None:
    """The extension module, or None: then everything is plain torch. Says once which it is."""
    from vllm.logger import init_logger

    module, words = _find()
    init_logger("vllm_cpu_ref").info("CPU kernels: %s", words)
    return module


def _find() -> tuple[Any | None, str]:
    setting = os.environ.get(VARIABLE, "1").strip().lower()
    if setting in ("0", "false", "no", "off"):
        return None, f"plain torch ({VARIABLE}={setting})"
    try:
        # torch's OpenMP runtime, already in this process, resolves what the module leaves open: one pool of threads for both.
        from vllm_cpu_ref.native import _kernels  # type: ignore[attr-defined]
    except ImportError as error:
        return None, f"plain torch (the compiled ones do not load: {error})"
    return _kernels, f"native ({_kernels.instruction_set().lower()})"
