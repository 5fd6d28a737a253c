"""Owns what the Llama-like families read alike from a config, and the names that their checkpoints share."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vllm.errors import ConfigError, near_names
from vllm.model_executor.loader.names import CheckpointNames
from vllm.model_executor.loader.rope_config import read_rope_config
from vllm.model_executor.models.spec import DecoderSpec, LayerSpec

__all__ = ["LLAMA_NAMES", "head_size_of", "layer_types_of", "llama_like_spec", "num_kv_heads_of", "windowed_layers"]

_REQUIRED = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
_SIZES = (*_REQUIRED, "num_key_value_heads", "head_dim")
_NORM_EPS = 1e-6
"""Where the config does not say."""
_ACTIVATIONS = {
    "silu": "silu_and_mul",
    "swish": "silu_and_mul",
    "gelu": "gelu_and_mul",
    "gelu_pytorch_tanh": "gelu_tanh_and_mul",
}

LLAMA_NAMES = CheckpointNames(
    prefixes=("model.",),
    renamed={"input_layernorm": "attn_norm", "post_attention_layernorm": "mlp_norm"},
    stacked={
        "q_proj": ("qkv_proj", "q"),
        "k_proj": ("qkv_proj", "k"),
        "v_proj": ("qkv_proj", "v"),
        "gate_proj": ("gate_up_proj", "gate"),
        "up_proj": ("gate_up_proj", "up"),
    },
)


def llama_like_spec(
    hf_config: Mapping[str, Any], layers: Sequence[LayerSpec] | None = None, **differences: Any
) -> DecoderSpec:
    """The spec of a config with Llama's keys; `layers` and `differences` say where the family departs from Llama.

    Raises:
        ConfigError: keys are missing, or their values do not go together.
    """
    _check_required(hf_config)
    head_size = head_size_of(hf_config)
    shared: dict[str, Any] = {
        "vocab_size": hf_config["vocab_size"],
        "hidden_size": hf_config["hidden_size"],
        "intermediate_size": hf_config["intermediate_size"],
        "num_heads": hf_config["num_attention_heads"],
        "num_kv_heads": num_kv_heads_of(hf_config),
        "head_size": head_size,
        "layers": tuple(layers or windowed_layers(hf_config, window=None)),
        "norm_eps": _norm_eps(hf_config),
        "activation_op": _activation(hf_config),
        "attention_scale": head_size**-0.5,
        "tied_embeddings": bool(hf_config.get("tie_word_embeddings", False)),
    }
    return DecoderSpec(**{**shared, **differences})


def windowed_layers(hf_config: Mapping[str, Any], window: int | None) -> list[LayerSpec]:
    """Layers of which those that `layer_types` calls "sliding_attention" see `window` tokens; without that key all do."""
    _check_required(hf_config)
    types = layer_types_of(hf_config) or ["sliding_attention"] * hf_config["num_hidden_layers"]
    return [
        LayerSpec(
            rope=read_rope_config(hf_config, kind), sliding_window=window if kind == "sliding_attention" else None
        )
        for kind in types
    ]


def layer_types_of(hf_config: Mapping[str, Any]) -> list[str] | None:
    """The config's `layer_types`, None where it has none.

    Raises:
        ConfigError: not one entry per layer, or an unknown entry.
    """
    types = hf_config.get("layer_types")
    if types is None:
        return None
    known = ("full_attention", "sliding_attention")
    if len(types) != hf_config["num_hidden_layers"]:
        what = (
            f"The model's config has {len(types)} layer_types for num_hidden_layers = {hf_config['num_hidden_layers']}."
        )
        raise ConfigError(what, remedy="give one entry per layer")
    for kind in types:
        if kind not in known:
            what = f"The model's config has a layer of type {kind!r}; known are {', '.join(known)}."
            raise ConfigError(what, remedy="use a family that knows this type", candidates=near_names(kind, known))
    return list(types)


def head_size_of(hf_config: Mapping[str, Any]) -> int:
    """`head_dim`, or the hidden size divided by the heads."""
    explicit = hf_config.get("head_dim")
    if explicit is not None:
        return int(explicit)
    hidden_size, num_heads = hf_config["hidden_size"], hf_config["num_attention_heads"]
    if hidden_size % num_heads:
        what = (
            f"The model's config gives no head_dim, and hidden_size {hidden_size} does not divide by {num_heads} heads."
        )
        raise ConfigError(what, remedy="add head_dim to config.json, or with --hf-overrides")
    return int(hidden_size // num_heads)


def num_kv_heads_of(hf_config: Mapping[str, Any]) -> int:
    """`num_key_value_heads`, or as many as there are query heads.

    Raises:
        ConfigError: the query heads cannot share them evenly.
    """
    num_heads = int(hf_config["num_attention_heads"])
    num_kv_heads = int(hf_config.get("num_key_value_heads") or num_heads)
    if num_heads % num_kv_heads:
        what = f"The model's config has {num_heads} attention heads, which cannot share {num_kv_heads} key/value heads evenly."
        raise ConfigError(what, remedy="correct num_attention_heads and num_key_value_heads in config.json")
    return num_kv_heads


def _check_required(hf_config: Mapping[str, Any]) -> None:
    missing = [key for key in _REQUIRED if hf_config.get(key) is None]
    if missing:
        what = f"The model's config lacks {', '.join(missing)}; it has {', '.join(sorted(hf_config))}."
        raise ConfigError(
            what, cause="the config belongs to another kind of model", remedy="add the keys, or correct architectures"
        )
    for key in _SIZES:
        size = hf_config.get(key)
        if size is not None and not (isinstance(size, int) and size >= 1):
            what = f"The model's config has {key} {size!r}; a whole number >= 1 is needed."
            raise ConfigError(what, remedy="use the config.json that came with the weights, or correct --hf-overrides")


def _norm_eps(hf_config: Mapping[str, Any]) -> float:
    value = hf_config.get("rms_norm_eps", _NORM_EPS)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < math.inf:
        return float(value)
    what = f"The model's config has rms_norm_eps {value!r}; a number >= 0 is needed."
    raise ConfigError(
        what, remedy="use the config.json that came with the weights, or give it: --hf-overrides.rms_norm_eps N"
    )


def _activation(hf_config: Mapping[str, Any]) -> str:
    name = hf_config.get("hidden_act") or "silu"
    if name not in _ACTIVATIONS:
        what = f"The model's config asks for the activation {name!r}; known are {', '.join(_ACTIVATIONS)}."
        raise ConfigError(what, remedy="use a model with one of these", candidates=near_names(name, _ACTIVATIONS))
    return _ACTIVATIONS[name]
