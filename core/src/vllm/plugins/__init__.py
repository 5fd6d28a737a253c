"""Owns the discovery of plugins: entry points, `VLLM_PLUGINS`, the API range, loading. Nothing here imports torch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vllm.errors import Unavailable

if TYPE_CHECKING:
    from vllm.plugins.discovery import Plugin, discover, installed_plugins
    from vllm.plugins.dotted import load_dotted
    from vllm.plugins.loading import load_general_plugins, load_plugins
    from vllm.plugins.probes import Probes
    from vllm.plugins.upstream import UpstreamPackage, find_upstream_packages

__all__ = [
    "Plugin",
    "Probes",
    "Unavailable",
    "UpstreamPackage",
    "discover",
    "find_upstream_packages",
    "installed_plugins",
    "load_dotted",
    "load_general_plugins",
    "load_plugins",
]

# Lazy: a plugin imports this package for `Unavailable` alone, and that must cost next to nothing.
_HOME = {
    "Plugin": "vllm.plugins.discovery",
    "Probes": "vllm.plugins.probes",
    "UpstreamPackage": "vllm.plugins.upstream",
    "discover": "vllm.plugins.discovery",
    "find_upstream_packages": "vllm.plugins.upstream",
    "installed_plugins": "vllm.plugins.discovery",
    "load_dotted": "vllm.plugins.dotted",
    "load_general_plugins": "vllm.plugins.loading",
    "load_plugins": "vllm.plugins.loading",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
