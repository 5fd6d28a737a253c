"""IBM Spyre platform. This file owns the entry point that discovery calls; it loads no vendor library."""

from __future__ import annotations

import os

from vllm.errors import ConfigError
from vllm.plugins import Probes, Unavailable
from vllm_spyre.settings import CPU_BACKENDS, Settings

__all__ = ["register"]

_VARIABLE = "VLLM_SPYRE_DYNAMO_BACKEND"
_USE_CPU = f"set {_VARIABLE} to {', '.join(CPU_BACKENDS[:-1])} or {CPU_BACKENDS[-1]} to run on the CPU"


def register() -> str | None:
    """The platform's path where the card's software is found, or where the environment names a backend that runs on a CPU.

    Looks for `torch_sendnn` without importing it: its import claims the card.

    Raises:
        Unavailable: neither; says what was looked for.
    """
    probes = Probes()
    has_torch_sendnn = probes.package("torch_sendnn")
    for variable in (_VARIABLE, "SPYRE_DEVICES", "AIU_WORLD_SIZE"):
        probes.variable(variable)
    probes.path("/dev/vfio/[0-9]*")  # cards are handed to programs through VFIO
    try:
        settings = Settings.read()
    except ConfigError as error:
        raise Unavailable(error.what, error.remedy or _USE_CPU, probes=probes.findings) from error
    if settings.runs_on_card and not has_torch_sendnn:
        why = f"{_VARIABLE} is sendnn" if os.environ.get(_VARIABLE) else f"{_VARIABLE} is not set, which means sendnn"
        reason = f"the Python package torch_sendnn, the card's compiler, is not installed ({why})"
        raise Unavailable(reason, f"install IBM's software for the card, or {_USE_CPU}", probes=probes.findings)
    return "vllm_spyre.platform.SpyrePlatform"
