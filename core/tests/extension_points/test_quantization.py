"""Quantisation from outside: a method registered by name in a general plugin, and a platform's own quantised linear op."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
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
from vllm.model_executor.ops import W8A8Int8Linear
from vllm.platforms import Capability, Feature
from vllm.testing.quantised_checkpoint import write_w8a8
from vllm_cpu_ref.platform import CpuRefPlatform

CALLS: Counter[str] = Counter()


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


class SilentPlatform(CpuRefPlatform):
    def capabilities(self) -> Mapping[Feature, Capability]:
        return {
            feature: answer for feature, answer in super().capabilities().items() if feature is not Feature.QUANTIZATION
        }


class ChoosyPlatform(CpuRefPlatform):
    def supported_quantization(self) -> tuple[str, ...] | None:
        return ("compressed-tensors", "int8_rows_packed")


class W8A8ByDevice(W8A8Int8Linear):
    """As a fused kernel of a device would do it, with weights transposed once after loading, and calls counted."""

    def lay_out(self, weight_OI: torch.Tensor, scale_O: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return weight_OI.t().contiguous(), scale_O

    def forward(
        self, x_I: torch.Tensor, weight_IO: torch.Tensor, scale_O: torch.Tensor, bias_O: torch.Tensor | None
    ) -> torch.Tensor:
        CALLS["w8a8_int8_linear"] += 1
        step_1 = x_I.float().abs().amax(-1, keepdim=True).clamp(min=1e-20) / 127
        product_O = (x_I.float() / step_1).round().double() @ weight_IO.double()
        out_O = product_O.float() * scale_O * step_1
        return (out_O if bias_O is None else out_O + bias_O).to(x_I.dtype)


class PlatformWithAKernel(CpuRefPlatform):
    def op_overrides(self) -> Mapping[str, str]:
        return {"w8a8_int8_linear": f"{__name__}.W8A8ByDevice"}


@pytest.fixture
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization_registry, "_METHODS", {})
    register_quantization_config("int8_rows")(Int8Config)


def dtypes_of_layer_0(model: Any) -> dict[str, torch.dtype]:
    return {name: p.dtype for name, p in model.named_parameters() if name.startswith("layers.0") and p.dim() == 2}


@pytest.mark.usefixtures("registered")
def test_the_layers_that_it_wants_hold_8_bits_and_the_model_still_counts() -> None:
    with example_engine(quantization="int8_rows") as engine:
        (dtypes,) = engine.apply_model(dtypes_of_layer_0)
        assert {name for name, dtype in dtypes.items() if dtype == torch.int8} == {
            "layers.0.mlp.gate_up_proj.weight",
            "layers.0.mlp.down_proj.weight",
        }
        assert generated(engine)[0] == plain_tokens()[0]


@pytest.mark.usefixtures("registered")
def test_a_platform_that_does_not_say_it_can_refuses_before_loading() -> None:
    assert_refused(
        ConfigError,
        r"--quantization int8_rows asks for quantization.*cpu_ref does not say",
        SilentPlatform,
        quantization="int8_rows",
    )


@pytest.mark.usefixtures("registered")
def test_a_platform_that_has_other_methods_refuses_before_loading() -> None:
    said = r"(?s)int8_rows is not what the platform cpu_ref can run; it has compressed-tensors, int8_rows_packed.*Did you mean"
    assert_refused(ConfigError, said, ChoosyPlatform, quantization="int8_rows")


@pytest.mark.usefixtures("registered")
def test_a_method_that_nobody_registered_names_the_near_one() -> None:
    assert_refused(
        ConfigError,
        r"(?s)'int8_row', which is not known. Known: .*int8_rows.*Did you mean: int8_rows",
        quantization="int8_row",
    )


def test_a_platforms_own_quantised_linear_op(tmp_path: Path) -> None:
    write_w8a8(tmp_path)
    with example_engine(model=str(tmp_path)) as engine:
        plain = generated(engine)
    CALLS.clear()
    with example_engine(PlatformWithAKernel, model=str(tmp_path)) as engine:
        assert generated(engine) == plain
    assert CALLS["w8a8_int8_linear"]
    assert plain[0] == plain_tokens()[0], "8 bits are enough to count"
