"""Owns the choice of how linear layers keep and apply their weights: the hook for quantisation, and the plain way.

A quantisation method is registered with `@register_quantization_config("name")`; a checkpoint asks for it with
`quantization_config.quant_method`, a user with `--quantization name`.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from vllm.model_executor.layers.quantization_registry import (
    quantization_config,
    quantization_method,
    quantization_settings,
    register_quantization_config,
)
from vllm.model_executor.layers.weights import Placement, Share

if TYPE_CHECKING:
    from vllm.config.model import ModelConfig
    from vllm.model_executor.context import ModelContext
    from vllm.model_executor.layers.linear import LinearLayer, OutputPart

__all__ = [
    "LinearMethod",
    "QuantizationConfig",
    "UnquantizedLinear",
    "linear_method",
    "register_quantization_config",
]


class LinearMethod(abc.ABC):
    """How one linear layer keeps its weights and multiplies by them."""

    @abc.abstractmethod
    def create_weights(self, layer: LinearLayer, *, dtype: torch.dtype, device: torch.device) -> None:
        """Register the layer's parameters with `layer.add_weight`; the shapes follow from `layer.parts` and `layer.input_share`."""

    @abc.abstractmethod
    def apply(self, layer: LinearLayer, x_TI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        """out_TO of this rank's rows and columns."""

    def process_after_loading(self, layer: LinearLayer) -> None:
        """Repack weights once all are loaded (`layer.replace_weight`); default: nothing."""


class QuantizationConfig(abc.ABC):
    """One quantisation method with a checkpoint's settings."""

    @classmethod
    @abc.abstractmethod
    def from_config(cls, settings: Mapping[str, Any]) -> QuantizationConfig:
        """From the checkpoint's `quantization_config`, {} where it has none. Asked while the configuration is checked, and by every layer.

        Raises:
            ConfigError: it asks for what the method does not implement; name the field and its value.
        """

    def check(self, model_config: ModelConfig) -> None:
        """While the configuration is checked, before anything is loaded: raise ConfigError if the model cannot be quantised so."""

    @abc.abstractmethod
    def linear_method(self, ctx: ModelContext, layer_name: str) -> LinearMethod | None:
        """For one layer; None = this layer is not quantised.

        Args:
            layer_name: as the model calls it, "layers.0.mlp.gate_up_proj"; `ctx.checkpoint_names.modules(layer_name)` says how
                checkpoints call the modules that it is made of.
        """


def linear_method(ctx: ModelContext, layer_name: str) -> LinearMethod:
    """The method for one layer of the model that is being built.

    Raises:
        ConfigError: the checkpoint or the user asks for a method that nobody registered.
    """
    model_config = ctx.config.model_config
    name = quantization_method(model_config)
    if name is None:
        return UnquantizedLinear(ctx)
    config = quantization_config(name).from_config(quantization_settings(model_config.hf_config))
    return config.linear_method(ctx, layer_name) or UnquantizedLinear(ctx)


class UnquantizedLinear(LinearMethod):
    """The weight as a matrix [out, in] in the model's dtype, until the op lays it out after loading."""

    def __init__(self, ctx: ModelContext) -> None:
        self.op = ctx.ops.create("linear")

    def create_weights(self, layer: LinearLayer, *, dtype: torch.dtype, device: torch.device) -> None:
        weight_OI = torch.empty(layer.out_features, layer.input_share.length, dtype=dtype, device=device)
        layer.add_weight("weight", weight_OI, PartsLoader(weight_OI, layer.parts, (layer.input_share,)))

    def process_after_loading(self, layer: LinearLayer) -> None:
        plain_OI = layer.weight.data
        laid_out = self.op.lay_out(plain_OI)
        if laid_out is not plain_OI:  # else it can be loaded again
            layer.replace_weight("weight", laid_out)

    def apply(self, layer: LinearLayer, x_TI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        out_TO: torch.Tensor = self.op(x_TI, layer.weight, bias_O)
        return out_TO


class PartsLoader:
    """Places tensors whose first axis is the layer's output, part after part; the other axes have one share each."""

    def __init__(
        self, value: torch.Tensor, parts: tuple[OutputPart, ...], other_shares: tuple[Share, ...] = ()
    ) -> None:
        self._value, self._other_shares = value, other_shares
        self._by_name = {part.name: part for part in parts}

    @property
    def parts(self) -> tuple[str | None, ...]:
        return tuple(self._by_name)

    def place(self, part: str | None) -> Placement:
        chosen = self._by_name[part]
        rows = slice(chosen.offset, chosen.offset + chosen.share.length)
        return Placement(self._value[rows], (chosen.share, *self._other_shares))
