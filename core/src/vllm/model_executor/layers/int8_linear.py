"""Owns linear layers whose weights are 8-bit integers with one scale per output: read so from a checkpoint, or made so after loading.

A row layer that is split over ranks quantises each rank's stretch of a token by itself: its steps are finer than one rank's, not equal.
Legend: T tokens, I inputs on this rank, O outputs on this rank.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from vllm.model_executor.layers.quantization import LinearMethod, PartsLoader, QuantizationConfig, UnquantizedLinear
from vllm.model_executor.layers.weights import Share
from vllm.model_executor.ops.quantised_linear import LARGEST_INT8

if TYPE_CHECKING:
    from vllm.model_executor.context import ModelContext
    from vllm.model_executor.layers.linear import LinearLayer

__all__ = ["Int8WeightOnlyConfig", "Int8WeightOnlyLinear", "QuantisedLinear"]


class QuantisedLinear(LinearMethod):
    """`weight` [O, I] int8 and `weight_scale` [O, 1], as checkpoints name them; the op lays them out after loading."""

    def __init__(self, ctx: ModelContext, op_name: str) -> None:
        """Args: op_name: w8a8_int8_linear or w8a16_int8_linear."""
        self.op = ctx.ops.create(op_name)

    def create_weights(self, layer: LinearLayer, *, dtype: torch.dtype, device: torch.device) -> None:
        weight_OI = torch.empty(layer.out_features, layer.input_share.length, dtype=torch.int8, device=device)
        layer.add_weight("weight", weight_OI, PartsLoader(weight_OI, layer.parts, (layer.input_share,)))
        scale_O1 = torch.empty(layer.out_features, 1, dtype=torch.float32, device=device)
        layer.add_weight("weight_scale", scale_O1, PartsLoader(scale_O1, layer.parts, (Share.whole(1),)))

    def process_after_loading(self, layer: LinearLayer) -> None:
        _lay_out(self.op, layer, layer.weight, layer.get_parameter("weight_scale")[:, 0])

    def apply(self, layer: LinearLayer, x_TI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        out_TO: torch.Tensor = self.op(x_TI, layer.weight, layer.weight_scale, bias_O)
        return out_TO


class Int8WeightOnlyLinear(UnquantizedLinear):
    """Any checkpoint's matrix, rounded to 8 bits after loading; layer by layer, so that the whole model is never held twice."""

    def __init__(self, ctx: ModelContext) -> None:
        self.op = ctx.ops.create("w8a16_int8_linear")

    def process_after_loading(self, layer: LinearLayer) -> None:
        wide_OI = layer.weight.float()
        scale_O = wide_OI.abs().amax(-1).clamp(min=torch.finfo(torch.float32).tiny) / LARGEST_INT8
        _lay_out(self.op, layer, (wide_OI / scale_O.unsqueeze(-1)).round().to(torch.int8), scale_O)

    def apply(self, layer: LinearLayer, x_TI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        out_TO: torch.Tensor = self.op(x_TI, layer.weight, layer.weight_scale, bias_O)
        return out_TO


class Int8WeightOnlyConfig(QuantizationConfig):
    """`--quantization int8_per_channel_weight_only`: every linear layer of a checkpoint in 16 or 32 bits; the output head stays."""

    @classmethod
    def from_config(cls, settings: Mapping[str, Any]) -> QuantizationConfig:
        del settings
        return cls()

    def linear_method(self, ctx: ModelContext, layer_name: str) -> LinearMethod | None:
        return Int8WeightOnlyLinear(ctx)


def _lay_out(op: Any, layer: LinearLayer, weight_OI: torch.Tensor, scale_O: torch.Tensor) -> None:
    weight, scale = op.lay_out(weight_OI.contiguous(), scale_O.contiguous())
    layer.replace_weight("weight", weight)
    layer.replace_weight("weight_scale", scale)
