"""Owns loading a platform by its dotted path: what every process does that has a configuration, without discovery."""

from __future__ import annotations

import functools

from vllm.platforms.interface import Platform
from vllm.platforms.torch_import import prepare_torch_import
from vllm.plugins.dotted import load_subclass

__all__ = ["load_platform", "platform_path"]


@functools.cache
def load_platform(path: str) -> Platform:
    """The platform at `path` ("package.module.Class" or "package.module:Class"); one instance per process."""
    prepare_torch_import()
    return load_subclass(path, Platform, option="the configuration's platform")()


def platform_path(platform: Platform) -> str:
    """The dotted path under which other processes load the same platform; what `VllmConfig.platform` holds."""
    return f"{type(platform).__module__}.{type(platform).__qualname__}"
