"""Owns what the families with experts read alike from a config, and the names that their checkpoints share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vllm.errors import ConfigError
from vllm.model_executor.models.families.common import LLAMA_NAMES
from vllm.model_executor.models.spec import ExpertsSpec, LayerSpec
from vllm.model_executor.routing import RouterKind, Routing

__all__ = ["QWEN_EXPERT_NAMES", "count_of", "qwen_expert_layers", "routing_of"]

QWEN_EXPERT_NAMES = replace(LLAMA_NAMES, expert_list="experts")


def routing_of(hf_config: Mapping[str, Any], kind: RouterKind) -> Routing:
    """How many experts there are and how many a token takes; files of several ages call the first by several names.

    Raises:
        ConfigError: a number is missing, is no count, or a token would take more experts than there are.
    """
    num_experts = count_of(hf_config, "num_experts", "num_local_experts")
    return Routing(num_experts=num_experts, top_k=count_of(hf_config, "num_experts_per_tok"), kind=kind)


def count_of(hf_config: Mapping[str, Any], *keys: str) -> int:
    """The first of the keys that the config has.

    Raises:
        ConfigError: it has none, or no whole number above zero.
    """
    found = next((hf_config[key] for key in keys if hf_config.get(key) is not None), None)
    if isinstance(found, int) and found >= 1:
        return found
    said = f"lacks {' and '.join(keys)}" if found is None else f"has {keys[0]} {found!r}"
    raise ConfigError(
        f"The model's config {said}; a whole number >= 1 is needed.",
        cause="the config belongs to another kind of model, or --hf-overrides changed it",
        remedy="use the config.json that came with the weights",
    )


def qwen_expert_layers(
    hf_config: Mapping[str, Any], layers: Sequence[LayerSpec], *, shared_intermediate_size: int | None = None
) -> list[LayerSpec]:
    """Every `decoder_sparse_step`-th layer has experts, but for `mlp_only_layers`; the others have one MLP."""
    renormalised = bool(hf_config.get("norm_topk_prob", False))
    experts = ExpertsSpec(
        routing=routing_of(hf_config, RouterKind.RENORMALISED_SOFTMAX if renormalised else RouterKind.SOFTMAX),
        intermediate_size=count_of(hf_config, "moe_intermediate_size"),
        shared_intermediate_size=shared_intermediate_size,
    )
    step = hf_config.get("decoder_sparse_step") or 1
    plain = set(hf_config.get("mlp_only_layers") or ())
    return [
        layer if i in plain or (i + 1) % step else replace(layer, experts=experts) for i, layer in enumerate(layers)
    ]
