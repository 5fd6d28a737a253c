"""Qwen3-MoE: Qwen3 with experts and no shared one (Yang et al. 2025, arXiv:2505.09388)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.model_executor.models.decoder import Decoder
from vllm.model_executor.models.families.common import llama_like_spec, windowed_layers
from vllm.model_executor.models.families.experts import QWEN_EXPERT_NAMES, qwen_expert_layers
from vllm.model_executor.models.spec import DecoderSpec

__all__ = ["Qwen3MoeForCausalLM"]


class Qwen3MoeForCausalLM(Decoder):
    """With `use_sliding_window` every layer has the window. Without `head_dim` heads share the hidden size, unlike in Qwen3."""

    checkpoint_names = QWEN_EXPERT_NAMES

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        window = hf_config.get("sliding_window") if hf_config.get("use_sliding_window", False) else None
        attention_bias = bool(hf_config.get("attention_bias", False))
        return llama_like_spec(
            hf_config,
            qwen_expert_layers(hf_config, windowed_layers(hf_config, window)),
            qk_norm=True,
            qkv_bias=attention_bias,
            attention_out_bias=attention_bias,
        )
