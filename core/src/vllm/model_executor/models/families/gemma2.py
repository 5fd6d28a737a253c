"""Gemma 2: norms before and after each block, soft caps, a window in every other layer (Gemma Team 2024, arXiv:2408.00118)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vllm.model_executor.models.decoder import Decoder
from vllm.model_executor.models.families.common import LLAMA_NAMES, layer_types_of, llama_like_spec, windowed_layers
from vllm.model_executor.models.spec import DecoderSpec

__all__ = ["Gemma2ForCausalLM"]

_DEFAULT_HEAD_SIZE = 256


class Gemma2ForCausalLM(Decoder):
    """Its config's defaults are those of Transformers: a checkpoint may leave them out."""

    checkpoint_names = replace(
        LLAMA_NAMES,
        renamed={
            "input_layernorm": "attn_norm",
            "post_attention_layernorm": "attn_out_norm",
            "pre_feedforward_layernorm": "mlp_norm",
            "post_feedforward_layernorm": "mlp_out_norm",
        },
    )

    @classmethod
    def make_spec(cls, hf_config: Mapping[str, Any]) -> DecoderSpec:
        attention_bias = bool(hf_config.get("attention_bias", False))
        config = {
            "head_dim": _DEFAULT_HEAD_SIZE,
            "tie_word_embeddings": True,
            **hf_config,
            "hidden_act": hf_config.get("hidden_activation") or "gelu_pytorch_tanh",
        }
        if layer_types_of(config) is None:
            config["layer_types"] = _alternating(config.get("num_hidden_layers") or 0)
        return llama_like_spec(
            config,
            windowed_layers(config, config.get("sliding_window", 4096)),
            norm_op="gemma_rms_norm",
            norm_after=True,
            qkv_bias=attention_bias,
            attention_out_bias=attention_bias,
            attention_scale=config.get("query_pre_attn_scalar", 256) ** -0.5,
            attention_soft_cap=config.get("attn_logit_softcapping", 50.0),
            logits_soft_cap=config.get("final_logit_softcapping", 30.0),
            embedding_scale=config.get("hidden_size", 0) ** 0.5,
        )


def _alternating(num_layers: int) -> list[str]:
    return ["full_attention" if i % 2 else "sliding_attention" for i in range(num_layers)]
