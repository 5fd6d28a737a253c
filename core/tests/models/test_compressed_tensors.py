"""Quantised checkpoints, written by the tests' own quantiser, against Transformers with the same rounded weights in fp32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from core.tests.models.checkpoints import FAMILIES, LONGEST, edit_config, expected_log_probs, random_texts
from core.tests.models.quantised_checkpoints import (
    quantised,
    with_quantised_activations,
    write_quantised,
)
from core.tests.models.running import PagedRun, load
from core.tests.models.thread_ranks import on_ranks
from core.tests.quantised_configs import with_changes
from vllm.errors import ConfigError, ModelLoadError
from vllm.model_executor.models.interface import CausalLM

SAME_ROUNDING = 1e-3
"""Typical difference of log-probabilities to a model that rounds alike. Sums in another order may move a single rounding by one step,
and every later one with it; so some positions differ as much as those of a model that does not round."""
OTHER_ROUNDING = (3e-3, 0.7)
"""Typical difference to a model that rounds otherwise, or not at all: there is one, and it is no larger than this. Random models with
log-probabilities of -40 are worse than trained ones."""
TEXTS = random_texts(range(1, 13))
"""Short ones: a rounding that moves is seen by the positions after it."""
WEIGHTS_ALONE = with_changes({"config_groups": {"group_0": {"input_activations": None}}})
BY_NAME = {family.name: family for family in FAMILIES}


def _log_probs(model: CausalLM) -> torch.Tensor:
    """[T, V] of all texts, one after the other."""
    return torch.cat(PagedRun(model, TEXTS).finish(5))


def _expected(model: transformers.PreTrainedModel) -> torch.Tensor:
    return torch.cat([expected_log_probs(model, text) for text in TEXTS])


def _typical(found_TV: torch.Tensor, wanted_TV: torch.Tensor) -> float:
    """The median over positions of the largest difference there."""
    return float((found_TV - wanted_TV).abs().amax(-1).median())


def _largest(found_TV: torch.Tensor, wanted_TV: torch.Tensor) -> float:
    return float((found_TV - wanted_TV).abs().max())


def _on_ranks(folder: Path, world_size: int, **options: Any) -> list[torch.Tensor]:
    return on_ranks(world_size, lambda tp: _log_probs(load(folder, max_model_len=LONGEST, tp=tp, **options)))


@pytest.mark.parametrize("name", ["llama", "llama-biased", "qwen2", "gemma2"])
def test_log_probabilities(tmp_path: Path, name: str) -> None:
    """With biases, tied embeddings (llama-biased, qwen2), and norms of all kinds."""
    reference = write_quantised(tmp_path, BY_NAME[name])
    found = _log_probs(load(tmp_path, max_model_len=LONGEST))
    assert OTHER_ROUNDING[0] < _typical(found, _expected(reference)) < OTHER_ROUNDING[1]
    assert _typical(found, _expected(with_quantised_activations(reference))) < SAME_ROUNDING


@pytest.mark.parametrize("name", ["llama-biased", "llama-multi-query"])
def test_two_ranks(tmp_path: Path, name: str) -> None:
    """Each rank rounds its own stretch of what row layers get; the reference does the same."""
    reference = with_quantised_activations(write_quantised(tmp_path, BY_NAME[name]), ranks=2)
    wanted, alone = _expected(reference), _log_probs(load(tmp_path, max_model_len=LONGEST))
    for found in _on_ranks(tmp_path, 2):
        assert _typical(found, wanted) < SAME_ROUNDING
        assert OTHER_ROUNDING[0] < _typical(found, alone) < OTHER_ROUNDING[1]


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_weights_alone_are_exact_on_any_ranks(tmp_path: Path, world_size: int) -> None:
    reference = write_quantised(tmp_path, BY_NAME["qwen2"], settings=WEIGHTS_ALONE)
    wanted = _expected(reference)
    for found in _on_ranks(tmp_path, world_size):
        assert _largest(found, wanted) < 1e-4


def test_what_is_held(tmp_path: Path) -> None:
    """Every linear layer in 8 bits with scales in fp32, nothing else, and no second copy."""
    write_quantised(tmp_path, FAMILIES[0])
    model = load(tmp_path, dtype="bfloat16")
    kinds = {name: parameter.dtype for name, parameter in model.named_parameters()}
    linear = {name for name in kinds if "_proj." in name and name.endswith(".weight")}
    assert len(linear) == 2 * 4
    assert {name for name, dtype in kinds.items() if dtype is torch.int8} == linear
    assert {name for name, dtype in kinds.items() if dtype is torch.float32} == {f"{name}_scale" for name in linear}
    assert model.get_submodule("layers.0.mlp.gate_up_proj").loaders == {}


@pytest.mark.parametrize(
    "ignore", [["lm_head", "model.layers.0.mlp.down_proj"], ["re:.*layers\\.0\\.mlp\\.down_proj", "lm_head"]]
)
def test_ignored_modules_stay_as_they_are(tmp_path: Path, ignore: list[str]) -> None:
    keeps = r"lm_head$|layers\.0\.mlp\.down_proj$"
    settings = with_changes({"ignore": ignore})
    reference = write_quantised(tmp_path, FAMILIES[0], keeps=keeps, settings=settings)
    model = load(tmp_path)
    assert model.get_submodule("layers.0.mlp.down_proj").weight.dtype is torch.float32
    assert model.get_submodule("layers.1.mlp.down_proj").weight.dtype is torch.int8
    with_quantised_activations(reference, keeps=keeps)
    assert _typical(_log_probs(model), _expected(reference)) < SAME_ROUNDING


def test_a_group_that_names_a_module_goes_before_linear(tmp_path: Path) -> None:
    """Attention with rounded activations, the MLP with weights alone, whichever group comes first."""
    of_mlp = {**WEIGHTS_ALONE["config_groups"]["group_0"], "targets": ["re:.*mlp.*"]}
    settings = with_changes({"config_groups": {"group_1": of_mlp}})
    write_quantised(tmp_path, FAMILIES[0], settings=settings)
    layer = load(tmp_path).get_submodule("layers.1")
    assert layer.self_attn.o_proj.method.op.op_name == "w8a8_int8_linear"
    assert layer.mlp.gate_up_proj.method.op.op_name == "w8a16_int8_linear"


def test_half_of_a_fused_layer_is_refused(tmp_path: Path) -> None:
    write_quantised(tmp_path, FAMILIES[0], settings=with_changes({"ignore": ["lm_head", "model.layers.1.mlp.up_proj"]}))
    with pytest.raises(ConfigError, match=r"gate_proj \(quantised\), model.layers.1.mlp.up_proj \(kept\)"):
        load(tmp_path)


def test_weights_that_were_never_compressed(tmp_path: Path) -> None:
    write_quantised(tmp_path, FAMILIES[0])
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    name = "model.layers.0.mlp.up_proj.weight"
    save_file({**tensors, name: tensors[name].float()}, path)
    with pytest.raises(ModelLoadError, match=f"{name} in .* is stored as F32; .* makes it int8"):
        load(tmp_path)


def test_a_missing_scale_is_named(tmp_path: Path) -> None:
    write_quantised(tmp_path, FAMILIES[0])
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["model.layers.0.mlp.up_proj.weight_scale"]
    save_file(tensors, path)
    with pytest.raises(ModelLoadError, match=r"lacks 1 tensors .*layers.0.mlp.up_proj.weight_scale"):
        load(tmp_path)


def test_dummy_weights_count_and_do_not_depend_on_the_split(tmp_path: Path) -> None:
    write_quantised(tmp_path, FAMILIES[0], settings=WEIGHTS_ALONE)
    model = load(tmp_path, load_format="dummy")
    assert model.get_submodule("layers.0.mlp.down_proj").weight.unique().tolist() == [-1, 0, 1]
    wanted = _log_probs(model)
    for found in _on_ranks(tmp_path, 2, load_format="dummy"):
        assert _largest(found, wanted) < 1e-5


def test_it_is_quantised_while_loading(tmp_path: Path) -> None:
    """`int8_per_channel_weight_only` on a checkpoint in 32 bits: as if its weights had been rounded in the file."""
    reference = BY_NAME["llama-biased"].write(tmp_path)
    edit_config(tmp_path, quantization_config={"quant_method": "int8_per_channel_weight_only"})
    for name, module in reference.named_modules():
        if name.endswith("_proj"):
            weight_OI = module.weight.detach()
            scale_O1 = weight_OI.abs().amax(1, keepdim=True) / 127
            module.weight.data = (weight_OI / scale_O1).round() * scale_O1
    model = load(tmp_path)
    assert model.get_submodule("layers.0.self_attn.qkv_proj").weight.dtype is torch.int8
    assert _largest(_log_probs(model), _expected(reference)) < 1e-4


def test_the_quantiser_by_hand() -> None:
    """bfloat16 holds the scales 1 and 1/128 exactly."""
    weight_OI, scale_O1 = quantised(torch.tensor([[127.0, -64.4, 0.6], [127 / 128, 0.25, -0.5]]))
    assert weight_OI.tolist() == [[127, -64, 1], [127, 32, -64]]
    assert scale_O1.tolist() == [[1.0], [1 / 128]]
