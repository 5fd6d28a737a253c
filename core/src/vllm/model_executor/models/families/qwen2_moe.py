"""Qwen2-MoE and Qwen1.5-MoE: Qwen2 with experts, and an MLP that every token takes besides (Yang et al. 2024, arXiv:2407.10671)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.model_executor.models.decoder import Decoder
from vllm.model_executor.models.families.common import llama_like_spec
from vllm.model_executor.models.families.experts import QWEN_EXPERT_NAMES, count_of, qwen_expert_layers
from vllm.model_executor.models.families.qwen2 import qwen_layers
from vllm.model_executor.models.spec import DecoderSpec

__all__ = ["Qwen2MoeForCausalLM"]


class Qwen2MoeForCausalLM(Decoder):
    """The shared MLP is weighed by the sigmoid of a score of its own."""

    checkpoint_names = QWEN_EXPERT_NAMES

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        shared = count_of(hf_config, "shared_expert_intermediate_size")
        layers = qwen_expert_layers(hf_config, qwen_layers(hf_config), shared_intermediate_size=shared)
        return llama_like_spec(hf_config, layers, qkv_bias=bool(hf_config.get("qkv_bias", True)))
