"""Llama 2 and 3: pre-norm decoder with grouped queries (Touvron et al. 2023, arXiv:2307.09288; Llama 3, arXiv:2407.21783)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.model_executor.models.decoder import Decoder
from vllm.model_executor.models.families.common import LLAMA_NAMES, llama_like_spec
from vllm.model_executor.models.spec import DecoderSpec

__all__ = ["LlamaForCausalLM"]


class LlamaForCausalLM(Decoder):
    """Bias only where the config asks for it."""

    checkpoint_names = LLAMA_NAMES

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        attention_bias = bool(hf_config.get("attention_bias", False))
        return llama_like_spec(
            hf_config,
            qkv_bias=attention_bias,
            attention_out_bias=attention_bias,
            mlp_bias=bool(hf_config.get("mlp_bias", False)),
        )
