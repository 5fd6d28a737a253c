"""Checkpoints that do not fit: each says what is wrong, and nothing is loaded by halves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from core.tests.models.checkpoints import FAMILIES, edit_config, random_texts
from core.tests.models.running import PagedRun, load, make_context
from vllm.errors import ConfigError, ModelLoadError
from vllm.model_executor.loader import build_model
from vllm.model_executor.loader.names import CheckpointNames

UP = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    FAMILIES[0].write(tmp_path)
    return tmp_path


@pytest.fixture
def sharded(tmp_path: Path) -> Path:
    FAMILIES[0].write(tmp_path, max_shard_size="60KB")
    return tmp_path


def _error(folder: Path, kind: type[Exception] = ModelLoadError) -> str:
    with pytest.raises(kind) as caught:
        load(folder)
    return str(caught.value)


def _edit(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


@pytest.mark.parametrize("value", ["1e-5", float("nan"), -1.0, True])
def test_a_norm_s_epsilon_that_is_no_number_is_told_before_weights_are_read(folder: Path, value: object) -> None:
    edit_config(folder, rms_norm_eps=value)
    (folder / "model.safetensors").write_bytes(b"never read")
    assert f"rms_norm_eps {value!r}; a number >= 0 is needed" in _error(folder, ConfigError)


def test_another_shape(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.update({UP: torch.zeros(95, 64)}))
    text = _error(folder)
    assert f"The tensor {UP} in {folder / 'model.safetensors'} has the shape (95, 64)" in text
    assert "config makes it (96, 64)" in text


@pytest.mark.parametrize("dtype, name", [(torch.int8, "I8"), (torch.float8_e4m3fn, "F8_E4M3")])
def test_quantised_weights_without_a_method(folder: Path, dtype: torch.dtype, name: str) -> None:
    _edit(folder, lambda tensors: tensors.update({UP: tensors[UP].to(dtype)}))
    assert f"is stored as {name}; the model needs float32" in _error(folder)


def test_weights_that_float16_cannot_hold(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.update({UP: torch.full((96, 64), 1e20)}))
    with pytest.raises(ModelLoadError, match=r"holds 1e\+20, which float16 cannot .*") as refused:
        build_model(make_context(folder, dtype="float16"))
    assert UP in str(refused.value) and "--dtype bfloat16" in str(refused.value)
    build_model(make_context(folder, dtype="bfloat16"))


def test_a_missing_tensor_and_the_near_one(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.update({UP.replace("up_", "upp_"): tensors.pop(UP)}))
    text = _error(folder)
    assert f"lacks 1 tensors that LlamaForCausalLM needs: {UP[6:]}." in text
    assert f"Did you mean: {UP.replace('up_', 'upp_')}?" in text


def test_unexpected_tensors(folder: Path) -> None:
    _edit(folder, lambda tensors: tensors.update({f"model.extra{i}": torch.zeros(1) for i in range(10)}))
    text = _error(folder)
    assert "holds 10 tensors that the model has no place for: model.extra0, model.extra1" in text
    assert "and 2 more" in text


def test_tables_of_rotation_are_ignored(folder: Path) -> None:
    _edit(folder, lambda t: t.update({"model.layers.0.self_attn.rotary_emb.inv_freq": torch.zeros(8)}))
    load(folder)


def test_the_head_of_tied_embeddings(folder: Path) -> None:
    text = random_texts((5,))
    _edit(folder, lambda tensors: tensors.pop("lm_head.weight"))
    assert '"tie_word_embeddings": true' in _error(folder)
    edit_config(folder, tie_word_embeddings=True)
    without_head = PagedRun(load(folder), text).finish(5)[0]
    _edit(folder, lambda tensors: tensors.update({"lm_head.weight": tensors["model.embed_tokens.weight"].clone()}))
    assert torch.equal(PagedRun(load(folder), text).finish(5)[0], without_head)


def test_the_same_weights_twice(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "a.safetensors")
    (folder / "b.safetensors").write_bytes((folder / "a.safetensors").read_bytes())
    assert "gives the same weights twice" in _error(folder)


@pytest.mark.parametrize("keep", [0, 5, 4000, -1])
def test_truncated_files(folder: Path, keep: int) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    text = _error(folder)
    assert f"{path} is no readable safetensors file" in text
    assert "incomplete download" in text


def test_a_pointer_in_the_place_of_the_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 12\n")
    assert "git LFS" in _error(folder)


def test_a_missing_shard(sharded: Path) -> None:
    gone = sorted(sharded.glob("*.safetensors"))[1]
    gone.unlink()
    assert f"of which 1 are not there: {gone.name}." in _error(sharded)


def test_a_missing_shard_that_the_index_does_not_name(sharded: Path) -> None:
    index = sharded / "model.safetensors.index.json"
    content = json.loads(index.read_text())
    dropped = sorted(set(content["weight_map"].values()))[-1]
    content["weight_map"] = {name: file for name, file in content["weight_map"].items() if file != dropped}
    index.write_text(json.dumps(content))
    assert "The checkpoint lacks" in _error(sharded)


@pytest.mark.parametrize("name", ["../elsewhere.safetensors", "/tmp/elsewhere.safetensors", "a/../../b.safetensors"])
def test_an_index_that_leads_out_of_the_folder(folder: Path, name: str) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {UP: name}}))
    assert f"names files outside its own folder: {name}." in _error(folder)


@pytest.mark.parametrize("content", ["{", "{}", "[]", '{"weight_map": 3}', '{"weight_map": {"a": 1}}'])
def test_a_broken_index(folder: Path, content: str) -> None:
    (folder / "model.safetensors.index.json").write_text(content)
    assert "is no index of safetensors files" in _error(folder)


def test_only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    text = _error(folder)
    assert "holds no *.safetensors file. It holds weights as PyTorch pickle (.bin)." in text
    (folder / "pytorch_model.bin").unlink()
    assert "--load-format dummy" in _error(folder)


def test_what_is_no_file_is_no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    os.mkfifo(folder / "a.safetensors")
    (folder / "b.safetensors").mkdir()
    (folder / "c.safetensors").symlink_to("c.safetensors")
    assert "holds no *.safetensors file" in _error(folder)


def test_other_safetensors_beside_the_models_own_are_left_alone(folder: Path) -> None:
    save_file({"x": torch.zeros(1)}, folder / "consolidated.safetensors")
    load(folder)


def test_a_misfit_leaves_the_model_untouched(folder: Path) -> None:
    """All is checked before the first weight is copied."""
    _edit(folder, lambda tensors: tensors.update({"lm_head.weight": torch.zeros(3, 64)}))
    context = make_context(folder, load_format="dummy")
    model = build_model(context)
    before = {name: value.clone() for name, value in model.named_parameters()}
    from vllm.model_executor.loader.checkpoint import load_checkpoint

    with pytest.raises(ModelLoadError, match="lm_head"):
        load_checkpoint(model, folder)
    assert all(torch.equal(value, before[name]) for name, value in model.named_parameters())


def test_an_unknown_load_format(folder: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean: safetensors"):
        load(folder, load_format="safetensor")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"hidden_size": None, "vocab_size": None}, "lacks vocab_size, hidden_size"),
        ({"hidden_act": "gelu_new"}, "activation 'gelu_new'"),
        ({"num_hidden_layers": "two"}, "num_hidden_layers 'two'; a whole number >= 1"),
        ({"intermediate_size": -3}, "intermediate_size -3; a whole number >= 1"),
        ({"head_dim": 0}, "head_dim 0; a whole number >= 1"),
        ({"num_key_value_heads": 3}, "4 attention heads, which cannot share 3 key/value heads"),
        ({"head_dim": None, "hidden_size": 66}, "hidden_size 66 does not divide by 4 heads"),
        ({"architectures": ["MistralForCausalLM"], "layer_types": ["full_attention"]}, "1 layer_types for num_hidden"),
        (
            {"architectures": ["MistralForCausalLM"], "layer_types": ["full_attention", "sliding_atention"]},
            "Did you mean: sliding_attention",
        ),
        ({"quantization_config": {"quant_method": "awq"}}, "by the method 'awq', which is not known. Known: compr"),
    ],
)
def test_configs_that_make_no_model(folder: Path, changes: dict[str, object], message: str) -> None:
    edit_config(folder, **changes)
    assert message in _error(folder, ConfigError)


def test_the_progress_bar_counts_files(sharded: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from vllm.model_executor.loader.checkpoint import load_checkpoint

    files = len(list(sharded.glob("*.safetensors")))
    model = load(sharded, load_format="dummy")
    assert "shards" not in capsys.readouterr().err
    with torch.inference_mode():
        load_checkpoint(model, sharded, use_tqdm=True)
    assert f"Loading safetensors checkpoint shards: 100% Completed | {files}/{files}" in capsys.readouterr().err


def test_names_and_their_inverse() -> None:
    names = CheckpointNames(
        prefixes=("model.",), renamed={"input_layernorm": "attn_norm"}, stacked={"q_proj": ("qkv_proj", "q")}
    )
    assert names.parameter("model.layers.0.self_attn.q_proj.bias") == ("layers.0.self_attn.qkv_proj.bias", "q")
    assert names.parameter("layers.1.input_layernorm.weight") == ("layers.1.attn_norm.weight", None)
    assert names.describe("layers.0.self_attn.qkv_proj.bias", "q") == "layers.0.self_attn.q_proj.bias"
    assert names.describe("layers.1.attn_norm.weight", None) == "layers.1.input_layernorm.weight"
