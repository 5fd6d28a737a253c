"""Granite: Llama with four multipliers (Granite 3.0 language models, IBM 2024)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vllm.model_executor.models.families.llama import LlamaForCausalLM
from vllm.model_executor.models.spec import DecoderSpec

__all__ = ["GraniteForCausalLM"]


class GraniteForCausalLM(LlamaForCausalLM):
    """Scales on the embeddings, the attention scores, what is added to the stream, and the logits."""

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        return replace(
            super().make_spec(hf_config),
            embedding_scale=hf_config.get("embedding_multiplier", 1.0),
            attention_scale=hf_config.get("attention_multiplier", 1.0),
            residual_scale=hf_config.get("residual_multiplier", 1.0),
            logits_scale=1.0 / hf_config.get("logits_scaling", 1.0),
        )
