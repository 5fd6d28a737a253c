"""Mixtral: Mistral with eight experts in every layer, of which a token takes two (Jiang et al. 2024, arXiv:2401.04088)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vllm.model_executor.loader.names import CheckpointNames
from vllm.model_executor.models.decoder import Decoder
from vllm.model_executor.models.families.common import LLAMA_NAMES, llama_like_spec, windowed_layers
from vllm.model_executor.models.families.experts import routing_of
from vllm.model_executor.models.spec import DecoderSpec, ExpertsSpec
from vllm.model_executor.routing import RouterKind

__all__ = ["MixtralForCausalLM"]

_NAMES = CheckpointNames(
    prefixes=LLAMA_NAMES.prefixes,
    renamed={**LLAMA_NAMES.renamed, "block_sparse_moe": "mlp", "w2": "down_proj"},
    stacked={
        **{name: target for name, target in LLAMA_NAMES.stacked.items() if target[0] == "qkv_proj"},
        "w1": ("gate_up_proj", "gate"),
        "w3": ("gate_up_proj", "up"),
    },
    expert_list="experts",
)


class MixtralForCausalLM(Decoder):
    """The shares of a token's experts sum to one. An expert is as wide as `intermediate_size` says."""

    checkpoint_names = _NAMES

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        spec = llama_like_spec(hf_config, windowed_layers(hf_config, hf_config.get("sliding_window")))
        routing = routing_of(hf_config, RouterKind.RENORMALISED_SOFTMAX)
        experts = ExpertsSpec(routing=routing, intermediate_size=spec.intermediate_size)
        return replace(spec, layers=tuple(replace(layer, experts=experts) for layer in spec.layers))
