"""Qwen3: Qwen2 with normed queries and keys and no bias (Yang et al. 2025, arXiv:2505.09388)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.model_executor.models.decoder import Decoder
from vllm.model_executor.models.families.common import LLAMA_NAMES, llama_like_spec
from vllm.model_executor.models.families.qwen2 import qwen_layers
from vllm.model_executor.models.spec import DecoderSpec

__all__ = ["Qwen3ForCausalLM"]

_DEFAULT_HEAD_SIZE = 128


class Qwen3ForCausalLM(Decoder):
    """Its head size is a number of its own, not the hidden size divided by the heads."""

    checkpoint_names = LLAMA_NAMES

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        attention_bias = bool(hf_config.get("attention_bias", False))
        with_head_size = {**hf_config, "head_dim": hf_config.get("head_dim") or _DEFAULT_HEAD_SIZE}
        return llama_like_spec(
            with_head_size,
            qwen_layers(hf_config),
            qk_norm=True,
            qkv_bias=attention_bias,
            attention_out_bias=attention_bias,
        )
