"""Owns the names of the quantisation methods: the core's own and those that plugins register, and which one a model asks for.

Imports no torch, so that a method nobody knows is refused while the configuration is checked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from vllm.errors import ConfigError, near_names
from vllm.plugins.dotted import load_dotted

if TYPE_CHECKING:
    from vllm.config.model import ModelConfig
    from vllm.model_executor.layers.quantization import QuantizationConfig

__all__ = [
    "known_quantizations",
    "quantization_config",
    "quantization_method",
    "quantization_settings",
    "register_quantization_config",
]

_BUILT_IN = {
    "compressed-tensors": "vllm.model_executor.layers.compressed_tensors.CompressedTensorsConfig",
    "int8_per_channel_weight_only": "vllm.model_executor.layers.int8_linear.Int8WeightOnlyConfig",
}
_METHODS: dict[str, type[QuantizationConfig]] = {}
"""What plugins registered."""
ConfigT = TypeVar("ConfigT", bound="type[QuantizationConfig]")


def register_quantization_config(name: str) -> Callable[[ConfigT], ConfigT]:
    """Class decorator: this QuantizationConfig serves the method `name`; it replaces an earlier registration, and the core's own."""

    def register(cls: ConfigT) -> ConfigT:
        _METHODS[name] = cls
        return cls

    return register


def known_quantizations() -> tuple[str, ...]:
    """The core's methods and those that were registered, sorted."""
    return tuple(sorted({*_BUILT_IN, *_METHODS}))


def quantization_config(name: str) -> type[QuantizationConfig]:
    """The class that serves the method `name`.

    Raises:
        ConfigError: nobody registered it.
    """
    if name in _METHODS:
        return _METHODS[name]
    if name in _BUILT_IN:
        built_in: type[QuantizationConfig] = load_dotted(_BUILT_IN[name])
        return built_in
    raise ConfigError(
        f"The model is to be quantised by the method {name!r}, which is not known. Known: {', '.join(known_quantizations())}.",
        cause="the checkpoint's quantization_config or --quantization names it",
        remedy="use a checkpoint in 16 or 32 bits, or install the plugin that knows the method and registers it with "
        "@register_quantization_config (see VLLM_PLUGINS)",
        candidates=near_names(name, known_quantizations()),
    )


def quantization_settings(hf_config: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a checkpoint's config says of its quantisation, {} where it says nothing.

    Raises:
        ConfigError: it is no object.
    """
    settings = hf_config.get("quantization_config") or hf_config.get("compression_config") or {}
    if isinstance(settings, Mapping):
        return settings
    what = f"The model's config has quantization_config {settings!r}; an object is needed."
    raise ConfigError(what, remedy="correct config.json, or with --hf-overrides")


def quantization_method(model_config: ModelConfig) -> str | None:
    """The method that the user or the checkpoint asks for; None: the weights are as they are.

    Raises:
        ConfigError: the two contradict each other.
    """
    stated = quantization_settings(model_config.hf_config).get("quant_method")
    asked = model_config.quantization
    if asked is not None and stated is not None and asked != stated:
        raise ConfigError(
            f"quantization (--quantization) is {asked}, but the checkpoint is quantised with {stated} already.",
            remedy="leave --quantization out, or give a checkpoint in 16 or 32 bits",
        )
    return asked or (None if stated is None else str(stated))
