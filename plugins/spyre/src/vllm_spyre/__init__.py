"""IBM Spyre platform. This file owns the entry point that discovery calls; it loads no vendor library."""

from __future__ import annotations

from vllm.plugins import Probes, Unavailable

__all__ = ["register"]

_NOT_YET = "this release of vllm-plugin-spyre cannot drive the card yet, it only says so"
_USE_CPU = "install vllm-plugin-cpu-ref to run on the CPU"


def register() -> str | None:
    """Say why the platform is not usable here.

    Looks for `torch_sendnn` without importing it: its import claims the card.

    Raises:
        Unavailable: always in this release, which holds no Spyre platform yet.
    """
    probes = Probes()
    has_torch_sendnn = probes.package("torch_sendnn")
    for variable in ("SPYRE_DEVICES", "AIU_WORLD_SIZE"):
        probes.variable(variable)
    probes.path("/dev/vfio/[0-9]*")  # cards are handed to programs through VFIO
    if not has_torch_sendnn:
        reason = f"the Python package torch_sendnn is not installed; besides, {_NOT_YET}"
        raise Unavailable(reason, _USE_CPU, probes=probes.findings)
    remedy = f"upgrade vllm-plugin-spyre once it can; until then, {_USE_CPU}"
    raise Unavailable(f"torch_sendnn is installed, but {_NOT_YET}", remedy, probes=probes.findings)
