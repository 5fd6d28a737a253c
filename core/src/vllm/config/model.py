"""What is served: the model, its tokenizer, its numerics and its context."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ModelConfig"]


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The resolved model. Everything here is known before a weight is read."""

    model: str
    """Folder of the checkpoint, as the loader opens it."""
    served_model_name: str
    served_model_aliases: tuple[str, ...] = ()
    """Further names that requests may use."""
    tokenizer: str
    """Folder of the tokenizer; usually the model's."""
    tokenizer_mode: str = "auto"
    skip_tokenizer_init: bool = False
    trust_remote_code: bool = False
    architecture: str = ""
    """First known entry of `architectures` in the checkpoint's config."""
    hf_config: Mapping[str, Any] = field(default_factory=dict)
    """The checkpoint's config.json as a mapping, `hf_overrides` applied (text part of a composite config)."""
    dtype: str = "bfloat16"
    """One of float32, bfloat16, float16; never "auto" here."""
    max_model_len: int = 2048
    """Most tokens of one sequence, prompt and output together."""
    fits_max_model_len_to_cache: bool = False
    """`--max-model-len auto`: the engine core lowers max_model_len to what the KV cache holds, instead of refusing to start."""
    vocab_size: int = 0
    """Rows of the embedding as the checkpoint has them."""
    seed: int = 0
    quantization: str | None = None
    enforce_eager: bool = False
    max_logprobs: int = 20
    logprobs_mode: str = "raw_logprobs"
    """raw_logprobs | processed_logprobs | raw_logits | processed_logits."""
    generation_config: Mapping[str, Any] = field(default_factory=dict)
    """Defaults from the model's generation_config.json (or {} with `--generation-config vllm`), overrides applied."""
    eos_token_ids: tuple[int, ...] = ()
    chat_template: str | None = None
    logits_processors: tuple[Any, ...] = ()
    """Classes or dotted paths of custom logits processors."""
    enable_sleep_mode: bool = False
