"""What a quantised checkpoint's config asks for and this release does not implement is refused, with field and value, before loading."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest

from core.tests.quantised_configs import W8A8, with_changes
from core.tests.settable_platform import SettablePlatform
from vllm.config import VllmConfig
from vllm.config.engine_args import EngineArgs
from vllm.config.resolve import create_engine_config
from vllm.errors import ConfigError
from vllm.platforms.capabilities import Capability, Feature

pytest.importorskip("torch", reason="a quantisation's configuration lives beside its layers")

WriteModel = Callable[..., str]


def _resolve(model: str, platform: SettablePlatform | None = None, **options: Any) -> VllmConfig:
    return create_engine_config(EngineArgs(model=model, **options), platform or SettablePlatform())


def _in_group(**changes: Any) -> Mapping[str, Any]:
    return {"config_groups": {"group_0": changes}}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"format": "int-quantized", "sparsity_config": {}, "version": "0.11", "quantization_status": "frozen"},
        {"kv_cache_scheme": None, "transform_config": None, "a_field_of_the_future": None},
        {"ignore": ["lm_head", "re:.*mlp.*"]},
        _in_group(input_activations=None),
        _in_group(weights={"observer": "mse", "actorder": None, "scale_dtype": None, "group_size": -1}),
    ],
)
@pytest.mark.parametrize("asked", [None, "compressed-tensors"])
def test_what_is_implemented(write_model: WriteModel, changes: Mapping[str, Any], asked: str | None) -> None:
    config = _resolve(write_model(quantization_config=with_changes(changes)), quantization=asked)
    assert config.model_config.quantization == asked


@pytest.mark.parametrize(
    "changes, words",
    [
        (
            {"format": "pack-quantized"},
            r"quantization_config has format 'pack-quantized'; .* implements 'int-quantized'",
        ),
        ({"kv_cache_scheme": {"num_bits": 8}}, r"has kv_cache_scheme \{'num_bits': 8\}; .* implements None"),
        ({"quantization_status": "calibration"}, "quantization_status 'calibration'"),
        ({"sparsity_config": {"format": "sparse-24"}}, "has sparsity_config"),
        ({"transform_config": {"config_groups": {"u": 1}}}, "has transform_config"),
        ({"a_field_of_the_future": 3}, "has a_field_of_the_future 3, a field that this release does not know"),
        ({"config_groups": None}, "config_groups is None; an object"),
        ({"config_groups": {"group_1": 3}}, "group_1 is 3; an object"),
        (
            _in_group(weights={"num_bits": 4}),
            r"config_groups.group_0.weights has num_bits 4; this release implements 8",
        ),
        (_in_group(weights={"type": "float"}), "weights has type 'float'"),
        (_in_group(weights={"symmetric": False}), "weights has symmetric False"),
        (_in_group(weights={"strategy": "tensor"}), "weights has strategy 'tensor'; this release implements 'channel'"),
        (_in_group(weights={"strategy": "group", "group_size": 128}), "weights has (strategy 'group'|group_size 128)"),
        (_in_group(weights={"actorder": "group"}), "weights has actorder 'group'"),
        (_in_group(weights=None), "weights is None; an object"),
        (_in_group(input_activations={"dynamic": False}), "input_activations has dynamic False"),
        (_in_group(input_activations={"strategy": "tensor"}), "input_activations has strategy 'tensor'"),
        (_in_group(output_activations={"num_bits": 8}), "group_0 has output_activations"),
        (_in_group(targets=["Conv2d"]), "modules of the class 'Conv2d'"),
        (_in_group(targets=["re:("]), "no regular expression"),
        ({"ignore": "lm_head"}, "ignore is 'lm_head'; a list of names"),
        ({"ignore": []}, r"ignore is \[\], so that lm_head is quantised"),
    ],
)
def test_what_is_not_implemented(write_model: WriteModel, changes: Mapping[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        _resolve(write_model(quantization_config=with_changes(changes)))


def test_a_shared_head_needs_no_mention(write_model: WriteModel) -> None:
    _resolve(write_model(quantization_config=with_changes({"ignore": []}), tie_word_embeddings=True))


def test_two_methods_at_once(write_model: WriteModel) -> None:
    with pytest.raises(ConfigError, match=r"--quantization\) is int8_per.*quantised with compressed-tensors already"):
        _resolve(write_model(quantization_config=W8A8), quantization="int8_per_channel_weight_only")


def test_a_method_without_settings(write_model: WriteModel) -> None:
    with pytest.raises(ConfigError, match="has format None"):
        _resolve(write_model(), quantization="compressed-tensors")


def test_a_near_name(write_model: WriteModel) -> None:
    with pytest.raises(ConfigError, match="Did you mean: compressed-tensors"):
        _resolve(write_model(quantization_config=with_changes({"quant_method": "compressed_tensors"})))


def test_no_object(write_model: WriteModel) -> None:
    with pytest.raises(ConfigError, match="quantization_config 'w8a8'; an object is needed"):
        _resolve(write_model(quantization_config="w8a8"))


def test_the_older_key(write_model: WriteModel) -> None:
    with pytest.raises(ConfigError, match="format 'pack-quantized'"):
        _resolve(write_model(compression_config=with_changes({"format": "pack-quantized"})))


def test_a_platform_that_cannot(write_model: WriteModel) -> None:
    platform = SettablePlatform(capabilities={Feature.QUANTIZATION: Capability.unsupported("it has no integers")})
    said = r"quantization_config \(compressed-tensors\) asks for quantization, .* cannot do: it has no integers"
    with pytest.raises(ConfigError, match=said):
        _resolve(write_model(quantization_config=W8A8), platform)
