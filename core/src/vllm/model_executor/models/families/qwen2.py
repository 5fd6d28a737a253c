"""Qwen2 and Qwen2.5: Llama with bias on queries, keys and values (Yang et al. 2024, arXiv:2407.10671)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.model_executor.models.decoder import Decoder
from vllm.model_executor.models.families.common import LLAMA_NAMES, layer_types_of, llama_like_spec, windowed_layers
from vllm.model_executor.models.spec import DecoderSpec, LayerSpec

__all__ = ["Qwen2ForCausalLM", "qwen_layers"]


class Qwen2ForCausalLM(Decoder):
    """The window counts only with `use_sliding_window`."""

    checkpoint_names = LLAMA_NAMES

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        return llama_like_spec(hf_config, qwen_layers(hf_config), qkv_bias=True)


def qwen_layers(hf_config: Mapping[str, Any]) -> list[LayerSpec]:
    """Windows by `layer_types`; in older configs from layer `max_window_layers` on."""
    window = hf_config.get("sliding_window") if hf_config.get("use_sliding_window", False) else None
    if window is None or layer_types_of(hf_config) is not None:
        return windowed_layers(hf_config, window)
    first_windowed = hf_config.get("max_window_layers", 28)
    full = windowed_layers(hf_config, None)
    return full[:first_windowed] + windowed_layers(hf_config, window)[first_windowed:]
