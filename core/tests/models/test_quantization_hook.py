"""A quantisation method from outside: registered by name, chosen by the checkpoint, it keeps and applies weights its own way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from core.tests.models.checkpoints import FAMILIES, edit_config, random_texts
from core.tests.models.running import PagedRun, load
from vllm.model_executor.context import ModelContext
from vllm.model_executor.layers import quantization_registry
from vllm.model_executor.layers.linear import LinearLayer
from vllm.model_executor.layers.quantization import (
    LinearMethod,
    PartsLoader,
    QuantizationConfig,
    register_quantization_config,
)


class Transposed(LinearMethod):
    """No quantisation at all, but another layout: repacked after loading."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def create_weights(self, layer: LinearLayer, *, dtype: torch.dtype, device: torch.device) -> None:
        raw_OI = torch.empty(layer.out_features, layer.input_share.length, dtype=dtype, device=device)
        layer.add_weight("weight", raw_OI, PartsLoader(raw_OI, layer.parts, (layer.input_share,)))

    def process_after_loading(self, layer: LinearLayer) -> None:
        layer.weight = torch.nn.Parameter(layer.weight.t().contiguous() * self.factor, requires_grad=False)

    def apply(self, layer: LinearLayer, x_TI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        out_TO = x_TI @ layer.weight / self.factor
        return out_TO if bias_O is None else out_TO + bias_O


class TransposedConfig(QuantizationConfig):
    def __init__(self, factor: float) -> None:
        self.factor = factor

    @classmethod
    def from_config(cls, settings: Mapping[str, Any]) -> QuantizationConfig:
        return cls(settings.get("factor", 1.0))

    def linear_method(self, ctx: ModelContext, layer_name: str) -> LinearMethod | None:
        return None if layer_name.endswith("down_proj") else Transposed(self.factor)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register_quantization_config("transposed")(TransposedConfig)
    yield
    del quantization_registry._METHODS["transposed"]


def test_a_method_from_outside(tmp_path: Path) -> None:
    FAMILIES[1].write(tmp_path)
    text = random_texts((20,))
    wanted = PagedRun(load(tmp_path), text).finish(20)[0]
    edit_config(tmp_path, quantization_config={"quant_method": "transposed", "factor": 4.0})
    model = load(tmp_path)
    assert model.get_submodule("layers.0.self_attn.qkv_proj").weight.shape == (64, 128)
    assert model.get_submodule("layers.0.mlp.down_proj").weight.shape == (64, 96)
    assert (PagedRun(model, text).finish(20)[0] - wanted).abs().max() < 1e-4
