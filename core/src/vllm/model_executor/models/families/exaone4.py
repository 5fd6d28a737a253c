"""EXAONE 4: norms after the blocks only, normed queries and keys, no positions where there is no window (LG AI 2025, arXiv:2507.11407)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vllm.model_executor.models.decoder import Decoder
from vllm.model_executor.models.families.common import LLAMA_NAMES, layer_types_of, llama_like_spec, windowed_layers
from vllm.model_executor.models.spec import DecoderSpec, LayerSpec

__all__ = ["Exaone4ForCausalLM"]


class Exaone4ForCausalLM(Decoder):
    """Without `sliding_window` every layer sees everything and knows positions."""

    checkpoint_names = replace(
        LLAMA_NAMES,
        renamed={"post_attention_layernorm": "attn_out_norm", "post_feedforward_layernorm": "mlp_out_norm"},
    )

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        return llama_like_spec(hf_config, _layers(hf_config), norm_before=False, norm_after=True, qk_norm=True)


def _layers(hf_config: Mapping[str, Any]) -> list[LayerSpec]:
    window = hf_config.get("sliding_window")
    if window is None:
        return windowed_layers({**hf_config, "layer_types": None}, None)
    types = layer_types_of(hf_config) or _types_by_pattern(hf_config)
    layers = windowed_layers({**hf_config, "layer_types": types}, window)
    return [layer if layer.sliding_window is not None else replace(layer, rope=None) for layer in layers]


def _types_by_pattern(hf_config: Mapping[str, Any]) -> list[str]:
    """Every `sliding_window_pattern`-th layer is global; older configs spell the period, "LLLG"."""
    pattern = hf_config.get("sliding_window_pattern", 4)
    period = "L" * (pattern - 1) + "G" if isinstance(pattern, int) else pattern
    kinds = {"L": "sliding_attention", "G": "full_attention"}
    return [kinds[period[i % len(period)]] for i in range(hf_config.get("num_hidden_layers") or 0)]
