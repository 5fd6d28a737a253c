"""Ascend NPU platform. This file owns the entry point that discovery calls; it loads no vendor library."""

from __future__ import annotations

from importlib.util import find_spec

from vllm.plugins import Unavailable

__all__ = ["register"]


def register() -> str | None:
    """Say why the platform is not usable here. Looks for `torch_npu` without importing it: its import needs CANN's libraries.

    Raises:
        Unavailable: always in this release, which holds no Ascend platform yet.
    """
    if find_spec("torch_npu") is None:
        raise Unavailable(
            "the Python package torch_npu is not installed, and this release of vllm-plugin-ascend holds no Ascend platform yet",
            "install vllm-plugin-cpu-ref to run on this machine's CPU",
        )
    raise Unavailable(
        "torch_npu is installed, but this release of vllm-plugin-ascend holds no Ascend platform yet: NPU support comes in a later release",
        "upgrade vllm-plugin-ascend once it supports NPUs; until then install vllm-plugin-cpu-ref",
    )
