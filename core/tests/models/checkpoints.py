"""Small random checkpoints of every family, written by Transformers, and what Transformers computes with them in fp32."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import transformers

VOCAB = 97
LONGEST = 64
_SIZES = {
    "vocab_size": VOCAB,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": LONGEST,
    "bos_token_id": 0,
    "eos_token_id": 1,
}


@dataclass(frozen=True)
class Family:
    """One config of one family."""

    name: str
    config_class: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    sliding: bool = False
    """Some layer has a window shorter than the texts of the tests."""

    def write(self, folder: Path, *, max_shard_size: str = "1GB") -> transformers.PreTrainedModel:
        """Save a random model to `folder` and give it back. Every kind of weight is random: ones and zeros would hide mistakes."""
        config = getattr(transformers, self.config_class)(**{**_SIZES, **self.settings})
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                _randomise(name, parameter)
        model.save_pretrained(folder, max_shard_size=max_shard_size)
        return model


def _randomise(name: str, parameter: torch.Tensor) -> None:
    if "norm" in name:
        parameter.uniform_(0.5, 1.5)
    elif name.endswith("bias"):
        parameter.normal_(std=0.5)
    else:
        parameter.normal_(std=1.0 if "embed" in name else 0.15)


def rope(rope_type: str, **options: Any) -> dict[str, Any]:
    """A config's `rope_parameters`."""
    return {"rope_parameters": {"rope_type": rope_type, "rope_theta": 10000.0, **options}}


_LLAMA3 = rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=32)
_SHORT, _LONG = [1.0 + 0.1 * i for i in range(8)], [2.0 + 0.5 * i for i in range(8)]
_EXPERTS = {"num_experts": 8, "num_experts_per_tok": 3, "moe_intermediate_size": 48}

FAMILIES = (
    Family("llama", "LlamaConfig"),
    Family("llama-biased", "LlamaConfig", {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True}),
    Family("llama-multi-query", "LlamaConfig", {"num_key_value_heads": 1, "head_dim": 24, "hidden_act": "gelu"}),
    Family("llama-linear", "LlamaConfig", rope("linear", factor=4.0)),
    Family("llama-dynamic", "LlamaConfig", rope("dynamic", factor=4.0)),
    Family("llama-llama3", "LlamaConfig", _LLAMA3),
    Family("llama-yarn", "LlamaConfig", rope("yarn", factor=4.0, original_max_position_embeddings=16)),
    Family(
        "llama-yarn-options",
        "LlamaConfig",
        rope("yarn", factor=4.0, original_max_position_embeddings=16, beta_fast=8.0, beta_slow=2.0, mscale=1.5,
             mscale_all_dim=0.5, truncate=False),
    ),
    Family("llama-yarn-factor", "LlamaConfig", rope("yarn", factor=4.0, attention_factor=0.8)),
    Family("llama-longrope-short", "LlamaConfig", rope("longrope", short_factor=_SHORT, long_factor=_LONG, factor=2.0)),
    Family("mistral-windowed", "MistralConfig", {"sliding_window": 9}, sliding=True),
    Family("mistral-full", "MistralConfig", {"sliding_window": None, "head_dim": 32}),
    Family("qwen2", "Qwen2Config", {"tie_word_embeddings": True}),
    Family(
        "qwen2-windowed",
        "Qwen2Config",
        {"use_sliding_window": True, "sliding_window": 9, "max_window_layers": 1},
        sliding=True,
    ),
    Family("qwen3", "Qwen3Config", {"head_dim": 32}),
    Family(
        "qwen3-windowed",
        "Qwen3Config",
        {
            "head_dim": 32,
            "attention_bias": True,
            "use_sliding_window": True,
            "sliding_window": 9,
            "layer_types": ["sliding_attention", "full_attention"],
        },
        sliding=True,
    ),
    Family(
        "granite",
        "GraniteConfig",
        {"embedding_multiplier": 1.7, "attention_multiplier": 0.3, "residual_multiplier": 0.6, "logits_scaling": 2.5},
    ),
    Family(
        "gemma2",
        "Gemma2Config",
        {"head_dim": 32, "sliding_window": 9, "attn_logit_softcapping": 3.0, "final_logit_softcapping": 5.0,
         "query_pre_attn_scalar": 20},
        sliding=True,
    ),
    Family("exaone4", "Exaone4Config", {"sliding_window": 9, "sliding_window_pattern": 2}, sliding=True),
    Family("exaone4-full", "Exaone4Config", {"sliding_window": None, "layer_types": ["full_attention"] * 2}),
    Family("mixtral", "MixtralConfig", {"num_local_experts": 8}),
    Family("mixtral-windowed", "MixtralConfig", {"num_local_experts": 4, "sliding_window": 9}, sliding=True),
    Family("qwen2-moe", "Qwen2MoeConfig", {**_EXPERTS, "shared_expert_intermediate_size": 80}),
    Family(
        "qwen2-moe-renormalised",
        "Qwen2MoeConfig",
        {**_EXPERTS, "shared_expert_intermediate_size": 24, "norm_topk_prob": True, "mlp_only_layers": [1],
         "num_experts_per_tok": 1, "qkv_bias": False},
    ),
    Family("qwen3-moe", "Qwen3MoeConfig", {**_EXPERTS, "head_dim": 32, "norm_topk_prob": True}),
    Family(
        "qwen3-moe-windowed",
        "Qwen3MoeConfig",
        {**_EXPERTS, "attention_bias": True, "decoder_sparse_step": 2, "use_sliding_window": True, "sliding_window": 9},
        sliding=True,
    ),
)  # fmt: skip


def random_texts(lengths: Sequence[int], vocab_size: int = VOCAB, seed: int = 0) -> list[list[int]]:
    """Random token ids, one list per length."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(vocab_size, (length,), generator=generator).tolist() for length in lengths]


@torch.no_grad()
def expected_log_probs(model: transformers.PreTrainedModel, text: Sequence[int]) -> torch.Tensor:
    """[T, V] in fp32, of the whole text in one call without a cache."""
    return model(torch.tensor([list(text)]), use_cache=False).logits[0].float().log_softmax(-1)


def expected_greedy(model: transformers.PreTrainedModel, text: Sequence[int], num_tokens: int) -> list[int]:
    """The most likely continuation, every token from the whole text anew."""
    known = list(text)
    for _ in range(num_tokens):
        known.append(int(expected_log_probs(model, known)[-1].argmax()))
    return known[len(text) :]


def edit_config(folder: Path, **changes: Any) -> None:
    """Rewrite keys of a checkpoint's config.json; None removes one."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))
