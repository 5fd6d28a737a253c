"""Ascend NPU platform. This file owns the entry point that discovery calls; it loads no vendor library."""

from __future__ import annotations

from vllm.plugins import Probes, Unavailable

__all__ = ["register"]

_NOT_YET = "this release of vllm-plugin-ascend cannot drive the NPU yet, it only says so"
_USE_CPU = "install vllm-plugin-cpu-ref to run on the CPU"


def register() -> str | None:
    """Say why the platform is not usable here.

    Looks for `torch_npu` without importing it: its import needs CANN's libraries.

    Raises:
        Unavailable: always in this release, which holds no Ascend platform yet.
    """
    probes = Probes()
    has_torch_npu = probes.package("torch_npu")
    for variable in ("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME", "ASCEND_RT_VISIBLE_DEVICES"):
        probes.variable(variable)
    for path in ("/usr/local/Ascend/ascend-toolkit", "/usr/local/Ascend/driver", "/dev/davinci[0-9]*"):
        probes.path(path)
    if not has_torch_npu:
        reason = f"the Python package torch_npu is not installed; besides, {_NOT_YET}"
        raise Unavailable(reason, _USE_CPU, probes=probes.findings)
    remedy = f"upgrade vllm-plugin-ascend once it can; until then, {_USE_CPU}"
    raise Unavailable(f"torch_npu is installed, but {_NOT_YET}", remedy, probes=probes.findings)
