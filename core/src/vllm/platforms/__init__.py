"""Owns the platform of this process. Lazy: names are loaded at first use, `current_platform` is resolved at first use.

`from vllm.platforms import Platform` loads the contract; `vllm.platforms.current_platform` finds the plugin and may take a
while. Code that has a configuration at hand asks the configuration instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vllm.platforms.torch_import import prepare_torch_import

if TYPE_CHECKING:
    from vllm.platforms.capabilities import Capability, Feature
    from vllm.platforms.constraints import SchedulingConstraints
    from vllm.platforms.device_fault import DeviceFault
    from vllm.platforms.interface import Platform
    from vllm.platforms.resolution import resolve_platform, use_platform
    from vllm.platforms.selection import load_platform, platform_path

    current_platform: Platform

__all__ = [
    "Capability",
    "DeviceFault",
    "Feature",
    "Platform",
    "SchedulingConstraints",
    "current_platform",
    "load_platform",
    "platform_path",
    "prepare_torch_import",
    "resolve_platform",
    "use_platform",
]

_HOME = {
    "Capability": "vllm.platforms.capabilities",
    "DeviceFault": "vllm.platforms.device_fault",
    "Feature": "vllm.platforms.capabilities",
    "Platform": "vllm.platforms.interface",
    "SchedulingConstraints": "vllm.platforms.constraints",
    "load_platform": "vllm.platforms.selection",
    "platform_path": "vllm.platforms.selection",
    "resolve_platform": "vllm.platforms.resolution",
    "use_platform": "vllm.platforms.resolution",
}


def __getattr__(name: str) -> Any:
    if (
        name == "current_platform"
    ):  # asked anew each time: the answer belongs to the resolution, which tests may replace
        from vllm.platforms.resolution import resolve_platform

        return resolve_platform()
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
