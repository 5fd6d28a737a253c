"""Mistral: Llama with a sliding window in every layer, where the config has one (Jiang et al. 2023, arXiv:2310.06825)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vllm.model_executor.models.decoder import Decoder
from vllm.model_executor.models.families.common import LLAMA_NAMES, llama_like_spec, windowed_layers
from vllm.model_executor.models.spec import DecoderSpec

__all__ = ["MistralForCausalLM"]


class MistralForCausalLM(Decoder):
    """`sliding_window` null means that every layer sees everything."""

    checkpoint_names = LLAMA_NAMES

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        return llama_like_spec(hf_config, windowed_layers(hf_config, hf_config.get("sliding_window")))
