"""The layer of experts: what each rank keeps of which expert, by hand, and checkpoints whose experts do not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.tests.models.checkpoints import Family, edit_config
from core.tests.models.running import load, make_context
from core.tests.models.thread_ranks import ThreadRank, on_ranks
from vllm.errors import ConfigError, ModelLoadError
from vllm.model_executor.context import ModelContext
from vllm.model_executor.layers import quantization_registry
from vllm.model_executor.layers.fused_moe import FusedMoE
from vllm.model_executor.layers.quantization import LinearMethod, QuantizationConfig, UnquantizedLinear
from vllm.model_executor.loader.names import CheckpointNames
from vllm.model_executor.models.families.mixtral import MixtralForCausalLM
from vllm.model_executor.models.families.qwen2_moe import Qwen2MoeForCausalLM
from vllm.model_executor.models.families.qwen3_moe import Qwen3MoeForCausalLM
from vllm.model_executor.routing import RouterKind, Routing

TWO = Routing(num_experts=2, top_k=1, kind=RouterKind.SOFTMAX)
QWEN = Family("qwen3-moe", "Qwen3MoeConfig", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 48})
UP = "model.layers.1.mlp.experts.3.up_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    QWEN.write(tmp_path)
    return tmp_path


def edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def refusal(folder: Path, kind: type[Exception]) -> str:
    with pytest.raises(kind) as caught:
        load(folder)
    return str(caught.value)


# -- what a rank keeps


def test_every_rank_keeps_a_stretch_of_every_expert(folder: Path) -> None:
    """Row r of expert e's gate holds 100 e + r, of its up 50 more; column c of its down holds 100 e + c."""

    def run(tp: ThreadRank) -> tuple[list[object], list[object]]:
        context = make_context(folder, tp=tp)
        layer = FusedMoE(context, "experts", TWO, hidden_size=1, intermediate_size=4, activation_op="silu_and_mul")
        for expert in range(2):
            rows_41 = 100.0 * expert + torch.arange(4.0).unsqueeze(1)
            fill(layer.gate_up_proj.loaders["weight"], f"{expert}.gate", rows_41)
            fill(layer.gate_up_proj.loaders["weight"], f"{expert}.up", rows_41 + 50)
            fill(layer.down_proj.loaders["weight"], f"{expert}", rows_41.T)
        return layer.gate_up_proj.weight.squeeze(2).tolist(), layer.down_proj.weight.squeeze(1).tolist()

    first, second = on_ranks(2, run)
    assert first == ([[0, 1, 50, 51], [100, 101, 150, 151]], [[0, 1], [100, 101]])
    assert second == ([[2, 3, 52, 53], [102, 103, 152, 153]], [[2, 3], [102, 103]])


def fill(loader: object, part: str, whole: torch.Tensor) -> None:
    placement = loader.place(part)  # type: ignore[attr-defined]
    assert placement.checkpoint_shape == tuple(whole.shape)
    placement.target.copy_(whole[placement.source])


def test_experts_that_do_not_split(folder: Path) -> None:
    def run(tp: ThreadRank) -> None:
        load(folder, tp=tp, overrides={"moe_intermediate_size": 47})

    with pytest.raises(ConfigError, match="The 47 inner outputs of each expert in layers"):
        on_ranks(2, run)


# -- names


@pytest.mark.parametrize(
    "names, checkpoint, parameter, part",
    [
        (MixtralForCausalLM, "layers.0.block_sparse_moe.experts.7.w1.weight", "experts.gate_up_proj.weight", "7.gate"),
        (MixtralForCausalLM, "layers.0.block_sparse_moe.experts.7.w3.weight", "experts.gate_up_proj.weight", "7.up"),
        (MixtralForCausalLM, "layers.0.block_sparse_moe.experts.12.w2.weight", "experts.down_proj.weight", "12"),
        (MixtralForCausalLM, "layers.0.block_sparse_moe.gate.weight", "gate.weight", None),
        (Qwen2MoeForCausalLM, "layers.0.mlp.experts.0.up_proj.weight", "experts.gate_up_proj.weight", "0.up"),
        (Qwen2MoeForCausalLM, "layers.0.mlp.shared_expert.up_proj.weight", "shared_expert.gate_up_proj.weight", "up"),
    ],
)
def test_names_go_both_ways(names: type, checkpoint: str, parameter: str, part: str | None) -> None:
    rules: CheckpointNames = names.checkpoint_names  # type: ignore[attr-defined]
    assert rules.parameter(f"model.{checkpoint}") == (f"layers.0.mlp.{parameter}", part)
    assert rules.describe(f"layers.0.mlp.{parameter}", part) == checkpoint


def test_numbers_count_only_where_a_family_says_so() -> None:
    name = "mlp.experts.3.up_proj.weight"
    plain = replace(Qwen2MoeForCausalLM.checkpoint_names, expert_list=None)
    assert plain.parameter(name) == ("mlp.experts.3.gate_up_proj.weight", "up")


# -- checkpoints that do not fit


def test_an_expert_s_missing_matrix_and_the_near_one(folder: Path) -> None:
    edit(folder, lambda tensors: tensors.update({UP.replace("up_", "upp_"): tensors.pop(UP)}))
    said = refusal(folder, ModelLoadError)
    assert f"lacks 1 tensors that Qwen3MoeForCausalLM needs: {UP.removeprefix('model.')}." in said
    assert f"Did you mean: {UP.replace('up_', 'upp_')}?" in said


def test_one_expert_of_another_shape(folder: Path) -> None:
    edit(folder, lambda tensors: tensors.update({UP: torch.zeros(47, 64)}))
    assert f"{UP} in {folder / 'model.safetensors'} has the shape (47, 64); the model's config makes it (48, 64)" in (
        refusal(folder, ModelLoadError)
    )


def test_more_experts_in_the_files_than_in_the_config(folder: Path) -> None:
    edit_config(folder, num_experts=3, num_local_experts=3)
    assert "has no place for: model.layers.0.mlp.experts.3.down_proj.weight" in refusal(folder, ModelLoadError)


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"num_experts_per_tok": 5}, "takes 5 of 4 experts"),
        ({"num_experts_per_tok": None}, "lacks num_experts_per_tok"),
        ({"num_experts": "4", "num_local_experts": "4"}, "num_experts '4'; a whole number >= 1 is needed"),
        ({"moe_intermediate_size": 0}, "moe_intermediate_size 0"),
    ],
)
def test_configs_that_cannot_be(folder: Path, settings: dict[str, object], said: str) -> None:
    edit_config(folder, **settings)
    assert said in refusal(folder, ConfigError)


class Halves(UnquantizedLinear):
    """A way to keep weights that is not the plain one."""


class HalvesConfig(QuantizationConfig):
    @classmethod
    def from_config(cls, settings: Mapping[str, Any]) -> QuantizationConfig:
        del settings
        return cls()

    def linear_method(self, ctx: ModelContext, layer_name: str) -> LinearMethod | None:
        return Halves(ctx) if "mlp" in layer_name else None


EXPERT_NAMES = [
    f"model.layers.0.mlp.experts.{expert}.{matrix}_proj" for expert in range(4) for matrix in ("gate", "up", "down")
]
W8A16 = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "quantization_status": "compressed",
    "config_groups": {"all": {"targets": ["Linear"], "weights": {"num_bits": 8, "strategy": "channel"}}},
}


@pytest.mark.parametrize("ignore", [[r"re:.*mlp\.experts\.\d+\..*"], EXPERT_NAMES], ids=["pattern", "names"])
def test_experts_that_a_quantised_checkpoint_ignores_one_by_one_stay_as_they_are(
    folder: Path, ignore: list[str]
) -> None:
    edit_config(folder, quantization_config={**W8A16, "ignore": ignore})
    context = replace(make_context(folder), checkpoint_names=Qwen3MoeForCausalLM.checkpoint_names)
    sizes = {"hidden_size": 64, "intermediate_size": 48, "activation_op": "silu_and_mul"}
    layer = FusedMoE(context, "layers.0.mlp.experts", TWO, **sizes)  # type: ignore[arg-type]
    assert layer.down_proj.weight.dtype is context.dtype
    with pytest.raises(ConfigError, match=r"layers\.1\.mlp\.experts\.0") if ignore is EXPERT_NAMES else nullcontext():
        FusedMoE(context, "layers.1.mlp.experts", TWO, **sizes)  # type: ignore[arg-type]


def test_a_method_that_would_quantise_experts_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(quantization_registry, "_METHODS", {"halves": HalvesConfig})
    edit_config(folder, quantization_config={"quant_method": "halves"})
    said = refusal(folder, ConfigError)
    assert (
        "layers.0.mlp.experts.0.gate_up_proj is to be quantised (Halves), but this release has no quantised experts"
        in said
    )
