"""Ascend NPUs as a platform. This file owns the entry point that discovery calls: it finds out whether an NPU can be used here."""

from __future__ import annotations

__all__ = ["register"]


def register() -> str:
    """Dotted path of the platform class, where torch_npu, CANN and an NPU are there and fit each other.

    Imports neither torch nor torch_npu, whose import fails without CANN's libraries.

    Raises:
        Unavailable: what is missing or does not fit, and what would change it.
    """
    from vllm.plugins import Probes
    from vllm_ascend.checkup import check_usable

    check_usable(Probes())
    return "vllm_ascend.platform.AscendPlatform"
