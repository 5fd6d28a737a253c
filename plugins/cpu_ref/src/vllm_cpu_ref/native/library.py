"""Owns finding the compiled kernels: once per process, with the reason where they cannot be used."""

from __future__ import annotations

import functools
import os
from typing import Any

import torch

__all__ = ["TYPES", "kernels"]

VARIABLE = "VLLM_CPU_REF_NATIVE"
_ON, _OFF = ("", "1", "true", "yes", "on"), ("0", "false", "no", "off")
TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
"""`Type` in arguments.h."""


@functools.cache
def kernels() -> Any | None:
    """The extension module, or None: then everything is plain torch. Says once which it is.

    Raises:
        ConfigError: the environment variable is neither on nor off.
    """
    from vllm.logger import init_logger

    module, words = _find()
    init_logger("vllm_cpu_ref").info("CPU kernels: %s", words)
    return module


def _find() -> tuple[Any | None, str]:
    setting = os.environ.get(VARIABLE, "").strip().lower()
    if setting in _OFF:
        return None, f"plain torch ({VARIABLE}={setting})"
    if setting not in _ON:
        raise _garbage(setting)
    try:
        # torch's OpenMP runtime, already in this process, resolves what the module leaves open: one pool of threads for both.
        from vllm_cpu_ref.native import _kernels  # type: ignore[attr-defined]
    except ImportError as error:
        return None, f"plain torch (the compiled ones do not load: {error})"
    return _kernels, f"native ({_kernels.instruction_set().lower()})"


def _garbage(setting: str) -> Exception:
    from vllm.errors import ConfigError

    choices = f"{', '.join(_ON[1:])} (compiled kernels where there are any) or {', '.join(_OFF)} (plain torch)"
    return ConfigError(
        f"The environment variable {VARIABLE} is {setting!r}, but it must be one of {choices}.",
        remedy=f"unset {VARIABLE}, or give it such a value",
    )
