"""Reading config.json: overrides, composite configs, context length, dtype, end tokens, and every unusable folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from vllm.errors import ConfigError, ModelLoadError
from vllm.model_executor.loader.hf_config import (
    derive_max_model_len,
    eos_token_ids,
    load_generation_config,
    load_hf_config,
    resolve_dtype,
)
from vllm.model_executor.loader.rope_config import read_rope_config


def _folder(folder: Path, config: object) -> Path:
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    return folder


_ARCH = {"architectures": ["LlamaForCausalLM"]}


def test_reading_a_config_imports_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, vllm.model_executor.loader.hf_config, vllm.model_executor.models.registry as r;"
        "r.ModelRegistry.get_supported_archs(); assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_overrides_go_in_depth_and_leave_the_rest(tmp_path: Path) -> None:
    config = {**_ARCH, "hidden_size": 8, "rope_parameters": {"rope_type": "default", "rope_theta": 5.0}}
    found = load_hf_config(
        _folder(tmp_path, config), {"rope_parameters": {"rope_type": "linear", "factor": 2}, "new": 1}
    )
    assert found == {
        **_ARCH,
        "hidden_size": 8,
        "rope_parameters": {"rope_type": "linear", "rope_theta": 5.0, "factor": 2},
        "new": 1,
    }


def test_an_override_of_the_old_rotary_keys_counts_against_the_new_ones(tmp_path: Path) -> None:
    folder = _folder(tmp_path, {**_ARCH, "rope_parameters": {"rope_type": "default", "rope_theta": 5.0}})
    assert read_rope_config(load_hf_config(folder, {"rope_theta": 7.0})).theta == 7.0
    rope = read_rope_config(load_hf_config(folder, {"rope_scaling": {"type": "linear", "factor": 2.0}}))
    assert (rope.rope_type, rope.theta, rope.factor) == ("linear", 5.0, 2.0)


@pytest.mark.parametrize("old, new", [("rope_type", "type"), ("type", "rope_type")])
def test_an_override_may_spell_the_rotary_type_in_the_other_way(tmp_path: Path, old: str, new: str) -> None:
    folder = _folder(tmp_path, {**_ARCH, "rope_scaling": {old: "dynamic", "factor": 4.0, "kept": 1}})
    found = load_hf_config(folder, {"rope_scaling": {new: "linear", "factor": 2.0}})
    assert found["rope_scaling"] == {new: "linear", "factor": 2.0, "kept": 1}
    assert read_rope_config(found).rope_type == "linear"


def test_a_function_that_returns_nothing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="returned None instead of the config"):
        load_hf_config(_folder(tmp_path, _ARCH), lambda config: None)  # type: ignore[arg-type, return-value]


def test_overrides_may_be_a_function(tmp_path: Path) -> None:
    found = load_hf_config(_folder(tmp_path, {**_ARCH, "a": 1}), lambda config: {**config, "a": config["a"] + 1})
    assert found["a"] == 2


def test_of_a_composite_config_the_text_part_is_taken(tmp_path: Path) -> None:
    config = {
        "architectures": ["Outer"],
        "dtype": "float16",
        "vision_config": {"hidden_size": 3},
        "text_config": {"architectures": ["Inner"], "hidden_size": 8, "model_type": "llama"},
    }
    found = load_hf_config(_folder(tmp_path, config), {"text_config": {"hidden_size": 9}, "max_position_embeddings": 7})
    assert found == {
        "architectures": ["Outer"],
        "dtype": "float16",
        "hidden_size": 9,
        "model_type": "llama",
        "max_position_embeddings": 7,
    }


def test_generation_config_and_end_tokens(tmp_path: Path) -> None:
    assert load_generation_config(tmp_path) == {}
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 5]}')
    generation = load_generation_config(tmp_path)
    assert eos_token_ids({"eos_token_id": 5}, generation) == (7, 5)
    assert eos_token_ids({"eos_token_id": 9}, generation) == (7, 5, 9)
    assert eos_token_ids({}, {}) == ()


@pytest.mark.parametrize("value", ["x", ["x"], [5, None], 2.5, True, {"id": 5}])
def test_an_end_token_that_is_no_id(value: object) -> None:
    with pytest.raises(
        ConfigError, match=r"(?s)The model's config has eos_token_id .*--hf-overrides.eos_token_id N"
    ) as told:
        eos_token_ids({"eos_token_id": value}, {})
    assert repr(value) in str(told.value)
    with pytest.raises(ConfigError, match=r"(?s)generation config has eos_token_id .*--override-generation-config"):
        eos_token_ids({"eos_token_id": 5}, {"eos_token_id": value})


# -- context length -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "config, wanted",
    [
        ({"max_position_embeddings": 100}, 100),
        ({"n_positions": 50}, 50),
        ({"max_position_embeddings": 100, "seq_length": 80}, 80),
        ({"rope_scaling": {"type": "linear", "factor": 4}}, 400),
        ({"rope_parameters": {"rope_type": "dynamic", "factor": 2.5}}, 250),
        ({"rope_parameters": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}}, 128),
        ({"rope_parameters": {"rope_type": "yarn", "original_max_position_embeddings": 32}}, 100),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4}}, 100),
        ({"rope_scaling": {"type": "longrope", "short_factor": [1], "long_factor": [2], "factor": 4}}, 100),
        ({"rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 2}, "sliding_attention": {}}}, 200),
    ],
)
def test_context_length(config: dict[str, Any], wanted: int) -> None:
    if "n_positions" not in config:
        config = {"max_position_embeddings": 100, **config}
    assert derive_max_model_len(config) == wanted


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"max_position_embeddings": 0}, "max_position_embeddings 0; a number of tokens"),
        ({"max_position_embeddings": "long"}, "max_position_embeddings 'long'; a number of tokens"),
        ({"rope_scaling": "yarn"}, "rope_scaling 'yarn'; an object"),
        ({"rope_parameters": [1]}, "rope_parameters .1.; an object"),
        ({"rope_scaling": {"type": "linear", "factor": 0}}, "factor of the rotary embeddings is 0"),
        ({"rope_scaling": {"type": "linear", "factor": "8"}}, "factor of the rotary embeddings is '8'"),
    ],
)
def test_lengths_and_rotations_of_the_wrong_kind(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        derive_max_model_len({"max_position_embeddings": 100, **changes})


def test_no_context_length_is_assumed_to_be_2048() -> None:
    assert derive_max_model_len({}) == 2048


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"rope_type": "yarnn"}, "Did you mean: yarn"),
        ({"rope_type": "linear"}, "need factor"),
        ({"rope_type": "llama3", "factor": 8}, "need low_freq_factor, high_freq_factor"),
    ],
)
def test_unusable_rotary_settings(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        derive_max_model_len({"max_position_embeddings": 100, "rope_parameters": parameters})


# -- dtype ----------------------------------------------------------------------------------------------------------------------

_ALL = ("bfloat16", "float16", "float32")


@pytest.mark.parametrize(
    "config, requested, supported, wanted",
    [
        ({"dtype": "float16"}, "auto", _ALL, "float16"),
        ({"torch_dtype": "torch.float16"}, "auto", _ALL, "float16"),
        ({"dtype": "float32"}, "auto", _ALL, "bfloat16"),
        ({}, "auto", _ALL, "bfloat16"),
        ({"dtype": "float32"}, "auto", ("float16", "float32"), "float16"),
        ({"dtype": "bfloat16"}, "auto", ("float16",), "float16"),
        ({"dtype": "bfloat16"}, "float", _ALL, "float32"),
        ({"dtype": "bfloat16"}, "half", _ALL, "float16"),
    ],
)
def test_dtype(config: dict[str, Any], requested: str, supported: tuple[str, ...], wanted: str) -> None:
    assert resolve_dtype(config, requested, supported) == wanted


def test_dtypes_that_cannot_be_had() -> None:
    with pytest.raises(ConfigError, match="Did you mean: float16"):
        resolve_dtype({}, "flot16", _ALL)
    with pytest.raises(
        ConfigError, match=r"asks for bfloat16, which the platform does not support; it supports float16"
    ):
        resolve_dtype({}, "bfloat16", ("float16",))


# -- bad folders ----------------------------------------------------------------------------------------------------------------


def _error(folder: Path) -> str:
    with pytest.raises(ModelLoadError) as caught:
        load_hf_config(folder)
    return str(caught.value)


def test_a_missing_folder_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "llama-3").mkdir()
    text = _error(tmp_path / "lama-3")
    assert "There is no model folder" in text
    assert f"Did you mean: {tmp_path / 'llama-3'}?" in text


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").touch()
    assert "is a file; a folder is needed" in _error(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    "name, cause", [("params.json", "Mistral's own format"), ("x.gguf", "GGUF"), ("readme", "no model in the format")]
)
def test_a_folder_without_config_says_what_it_holds(tmp_path: Path, name: str, cause: str) -> None:
    (tmp_path / name).touch()
    text = _error(tmp_path)
    assert f"has no config.json. It holds: {name}." in text
    assert cause in text


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "is no valid JSON"),
        ("[1]", "holds a list where a JSON object is needed"),
        ({"model_type": "llama"}, "architectures is None, model_type is 'llama'"),
        ({"architectures": []}, "names no architecture"),
        ({"architectures": "LlamaForCausalLM"}, "names no architecture"),
    ],
)
def test_unusable_configs(tmp_path: Path, content: object, message: str) -> None:
    assert message in _error(_folder(tmp_path, content))


def test_an_unreadable_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").mkdir()
    assert "has no config.json" in _error(tmp_path)
    (tmp_path / "config.json").rmdir()
    (tmp_path / "config.json").write_bytes(b"\xff\xfe\x00")
    assert "is no valid JSON" in _error(tmp_path)
