"""IBM Spyre platform. This file owns the entry point that discovery calls; it loads no vendor library."""

from __future__ import annotations

from importlib.util import find_spec

from vllm.plugins import Unavailable

__all__ = ["register"]

_NOT_YET = "this release of vllm-plugin-spyre cannot drive the card yet, it only says so"


def register() -> str | None:
    """Say why the platform is not usable here.

    Looks for `torch_sendnn` without importing it: its import claims the card.

    Raises:
        Unavailable: always in this release, which holds no Spyre platform yet.
    """
    use_cpu = "install vllm-plugin-cpu-ref to run on the CPU"
    if find_spec("torch_sendnn") is None:
        raise Unavailable(f"the Python package torch_sendnn is not installed; besides, {_NOT_YET}", use_cpu)
    raise Unavailable(
        f"torch_sendnn is installed, but {_NOT_YET}", f"upgrade vllm-plugin-spyre once it can; until then, {use_cpu}"
    )
