"""The reference platform: pure torch on any CPU. This file owns the entry point that discovery calls."""

from __future__ import annotations

__all__ = ["register"]


def register() -> str:
    """Dotted path of the platform class. Imports nothing: discovery decides later whether torch gets loaded."""
    return "vllm_cpu_ref.platform.CpuRefPlatform"
