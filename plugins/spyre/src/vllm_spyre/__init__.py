"""IBM Spyre platform. This file owns the entry point that discovery calls; it loads no vendor library."""

from __future__ import annotations

from importlib.util import find_spec

from vllm.plugins import Unavailable

__all__ = ["register"]


def register() -> str | None:
    """Say why the platform is not usable here. Looks for `torch_sendnn` without importing it: its import claims the card.

    Raises:
        Unavailable: always in this release, which holds no Spyre platform yet.
    """
    if find_spec("torch_sendnn") is None:
        raise Unavailable(
            "the Python package torch_sendnn is not installed, and this release of vllm-plugin-spyre holds no Spyre platform yet",
            "install vllm-plugin-cpu-ref to run on this machine's CPU",
        )
    raise Unavailable(
        "torch_sendnn is installed, but this release of vllm-plugin-spyre holds no Spyre platform yet: the card's support comes in a later release",
        "upgrade vllm-plugin-spyre once it supports the card; until then install vllm-plugin-cpu-ref",
    )
