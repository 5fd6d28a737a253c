"""A quantisation method from outside: registered by name in a general plugin, asked for with `--quantization`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch

from core.tests.extension_points.engines import assert_refused, example_engine, generated, plain_tokens
from vllm.errors import ConfigError
from vllm.model_executor.context import ModelContext
from vllm.model_executor.layers import quantization_registry
from vllm.model_executor.layers.linear import LinearLayer
from vllm.model_executor.layers.quantization import (
    LinearMethod,
    QuantizationConfig,
    UnquantizedLinear,
    register_quantization_config,
)
from vllm.platforms import Capability, Feature
from vllm_cpu_ref.platform import CpuRefPlatform


class Int8Rows(UnquantizedLinear):
    """Weights of 8 bits with one scale per output, made from the checkpoint's after loading."""

    def process_after_loading(self, layer: LinearLayer) -> None:
        scale_O1 = layer.weight.abs().amax(dim=1, keepdim=True) / 127
        layer.register_buffer("scale_O1", scale_O1)
        layer.weight = torch.nn.Parameter((layer.weight / scale_O1).round().to(torch.int8), requires_grad=False)

    def apply(self, layer: LinearLayer, x_TI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        out_TO: torch.Tensor = self.op(x_TI, layer.weight * layer.get_buffer("scale_O1"), bias_O)
        return out_TO


class Int8Config(QuantizationConfig):
    @classmethod
    def from_config(cls, settings: Mapping[str, Any]) -> QuantizationConfig:
        del settings  # a checkpoint's `quantization_config`; this method has nothing to set
        return cls()

    def linear_method(self, ctx: ModelContext, layer_name: str) -> LinearMethod | None:
        return Int8Rows(ctx) if "mlp" in layer_name else None


class QuantizingPlatform(CpuRefPlatform):
    def capabilities(self) -> Mapping[Feature, Capability]:
        return {**super().capabilities(), Feature.QUANTIZATION: Capability.partial("8-bit weights of linear layers")}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization_registry, "_METHODS", {})
    register_quantization_config("int8_rows")(Int8Config)


def dtypes_of_layer_0(model: Any) -> dict[str, torch.dtype]:
    return {name: p.dtype for name, p in model.named_parameters() if name.startswith("layers.0") and p.dim() == 2}


@pytest.mark.usefixtures("registered")
def test_the_layers_that_it_wants_hold_8_bits_and_the_model_still_counts() -> None:
    with example_engine(QuantizingPlatform, quantization="int8_rows") as engine:
        (dtypes,) = engine.apply_model(dtypes_of_layer_0)
        assert {name for name, dtype in dtypes.items() if dtype == torch.int8} == {
            "layers.0.mlp.gate_up_proj.weight",
            "layers.0.mlp.down_proj.weight",
        }
        assert generated(engine)[0] == plain_tokens()[0]


@pytest.mark.usefixtures("registered")
def test_a_platform_that_does_not_say_it_can_refuses_before_loading() -> None:
    assert_refused(
        ConfigError, r"--quantization int8_rows asks for quantization.*cpu_ref does not say", quantization="int8_rows"
    )


@pytest.mark.usefixtures("registered")
def test_a_method_that_nobody_registered_names_the_near_one() -> None:
    assert_refused(
        ConfigError,
        r"(?s)plugins have registered only int8_rows.*Did you mean: int8_rows",
        QuantizingPlatform,
        quantization="int8_row",
    )
