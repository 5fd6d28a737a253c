"""Ascend NPU platform. This file owns the entry point that discovery calls; it loads no vendor library."""

from __future__ import annotations

from importlib.util import find_spec

from vllm.plugins import Unavailable

__all__ = ["register"]

_NOT_YET = "this release of vllm-plugin-ascend cannot drive the NPU yet, it only says so"


def register() -> str | None:
    """Say why the platform is not usable here.

    Looks for `torch_npu` without importing it: its import needs CANN's libraries.

    Raises:
        Unavailable: always in this release, which holds no Ascend platform yet.
    """
    use_cpu = "install vllm-plugin-cpu-ref to run on the CPU"
    if find_spec("torch_npu") is None:
        raise Unavailable(f"the Python package torch_npu is not installed; besides, {_NOT_YET}", use_cpu)
    raise Unavailable(
        f"torch_npu is installed, but {_NOT_YET}", f"upgrade vllm-plugin-ascend once it can; until then, {use_cpu}"
    )
