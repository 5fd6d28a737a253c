"""Owns loading a platform by its dotted path: what every process does that has a configuration, without discovery."""

from __future__ import annotations

import functools
import importlib

from vllm.errors import ConfigError
from vllm.platforms.interface import Platform

__all__ = ["load_platform"]


@functools.cache
def load_platform(path: str) -> Platform:
    """The platform at `path` ("package.module.Class" or "package.module:Class"); one instance per process."""
    module_name, _, class_name = path.replace(":", ".").rpartition(".")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"The platform class {path!r} cannot be loaded: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, Platform)):
        raise ConfigError(f"{path!r} is no subclass of vllm.platforms.Platform")
    return cls()
