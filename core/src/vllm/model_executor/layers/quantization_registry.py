"""Owns the names of the quantisation methods: registered by plugins, asked for by the configuration check and the linear layers.

Imports no torch, so that a method nobody knows is refused while the configuration is checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from vllm.errors import ConfigError, near_names

if TYPE_CHECKING:
    from vllm.model_executor.layers.quantization import QuantizationConfig

__all__ = ["known_quantizations", "quantization_config", "register_quantization_config"]

_METHODS: dict[str, type[QuantizationConfig]] = {}
ConfigT = TypeVar("ConfigT", bound="type[QuantizationConfig]")


def register_quantization_config(name: str) -> Callable[[ConfigT], ConfigT]:
    """Class decorator: this QuantizationConfig serves the method `name`; a later registration replaces an earlier one."""

    def register(cls: ConfigT) -> ConfigT:
        _METHODS[name] = cls
        return cls

    return register


def known_quantizations() -> tuple[str, ...]:
    """The methods that were registered, sorted."""
    return tuple(sorted(_METHODS))


def quantization_config(name: str) -> type[QuantizationConfig]:
    """The class that serves the method `name`.

    Raises:
        ConfigError: nobody registered it.
    """
    if name in _METHODS:
        return _METHODS[name]
    raise ConfigError(
        f"The model is to be quantised by the method {name!r}, which is not known. Known: {', '.join(known_quantizations()) or 'none'}.",
        cause="the checkpoint's quantization_config or --quantization names it",
        remedy="use a checkpoint without quantisation, or register the method with @register_quantization_config in a plugin",
        candidates=near_names(name, _METHODS),
    )
