"""What plugins and the core test themselves with (extra `vllm-core[testing]`).

`PlatformConformance` is the kit for pytest, `run_laws` the same without; both are loaded at first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.testing.conformance import PlatformConformance
    from vllm.testing.report import Report
    from vllm.testing.runner import run_laws

__all__ = ["PlatformConformance", "Report", "run_laws"]

_HOME = {
    "PlatformConformance": "vllm.testing.conformance",
    "Report": "vllm.testing.report",
    "run_laws": "vllm.testing.runner",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
