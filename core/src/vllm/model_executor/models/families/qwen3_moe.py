"""Qwen3-MoE: Qwen3 with experts and no shared one (Yang et al. 2025, arXiv:2505.09388)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vllm.model_executor.models.families.common import windowed_layers
from vllm.model_executor.models.families.experts import QWEN_EXPERT_NAMES, qwen_expert_layers
from vllm.model_executor.models.families.qwen3 import Qwen3ForCausalLM
from vllm.model_executor.models.spec import DecoderSpec

__all__ = ["Qwen3MoeForCausalLM"]


class Qwen3MoeForCausalLM(Qwen3ForCausalLM):
    """With `use_sliding_window` every layer has the window."""

    checkpoint_names = QWEN_EXPERT_NAMES

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        window = hf_config.get("sliding_window") if hf_config.get("use_sliding_window", False) else None
        layers = qwen_expert_layers(hf_config, windowed_layers(hf_config, window))
        return replace(super().make_spec(hf_config), layers=tuple(layers))
