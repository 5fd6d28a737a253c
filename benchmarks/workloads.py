"""Owns the shapes and loads that benchmarks run: model shapes as data, written as folders for `--load-format dummy`.

S and M are the shapes of Qwen2.5-0.5B and Llama-3.2-1B; T is small on purpose: there the engine's own costs show.
Weights are random, so that nothing needs downloading; the tokenizer is made up, with one piece of text per token.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["LOADS", "SHAPES", "Load", "prompts", "write_model"]

_LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "rms_norm_eps": 1e-5}
_QWEN2 = {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu", "rms_norm_eps": 1e-6}

SHAPES: dict[str, dict[str, Any]] = {
    "T": {
        **_LLAMA,
        "hidden_size": 256,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 704,
        "vocab_size": 4096,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": True,
        "rope_theta": 10_000.0,
    },
    "S": {
        **_QWEN2,
        "hidden_size": 896,
        "num_hidden_layers": 24,
        "num_attention_heads": 14,
        "num_key_value_heads": 2,
        "intermediate_size": 4864,
        "vocab_size": 151_936,
        "max_position_embeddings": 32_768,
        "tie_word_embeddings": True,
        "rope_theta": 1_000_000.0,
    },
    "M": {
        **_LLAMA,
        "hidden_size": 2048,
        "num_hidden_layers": 16,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
        "head_dim": 64,
        "intermediate_size": 8192,
        "vocab_size": 128_256,
        "max_position_embeddings": 131_072,
        "tie_word_embeddings": True,
        "rope_theta": 500_000.0,
    },
}
"""Shape -> the config.json of its model."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """How many requests, and how long."""

    requests: int
    prompt_tokens: int
    output_tokens: int


LOADS = {
    "one": Load(requests=1, prompt_tokens=128, output_tokens=128),
    "some": Load(requests=16, prompt_tokens=128, output_tokens=64),
    "many-short": Load(requests=256, prompt_tokens=32, output_tokens=64),
}
"""Name -> load."""


def write_model(shape: str, folder: Path) -> Path:
    """Write the config and a tokenizer of `shape` into `folder`, which is created; gives the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**SHAPES[shape], "dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 1}
    (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer(config["vocab_size"])), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<s>", "eos_token": "</s>"}),
        encoding="utf-8",
    )
    return folder


def prompts(load: Load, vocab_size: int, seed: int = 0) -> list[list[int]]:
    """Random token ids; no two prompts share a beginning, so that the prefix cache does not help."""
    draw = random.Random(seed)
    return [[2 + draw.randrange(vocab_size - 2) for _ in range(load.prompt_tokens)] for _ in range(load.requests)]


def _tokenizer(vocab_size: int) -> dict[str, Any]:
    """A byte-level tokenizer whose ids above the bytes are words of their own; in the format of the `tokenizers` library."""
    pieces = ["<s>", "</s>", *_byte_symbols()]
    pieces += [f"Ġw{number}" for number in range(vocab_size - len(pieces))]
    special = [
        {
            "id": number,
            "content": pieces[number],
            "special": True,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
        }
        | {"normalized": False}
        for number in (0, 1)
    ]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    model = {"type": "BPE", "vocab": {piece: number for number, piece in enumerate(pieces)}, "merges": []}
    return {
        "version": "1.0",
        "added_tokens": special,
        "pre_tokenizer": byte_level,
        "decoder": byte_level,
        "model": model,
    }


def _byte_symbols() -> list[str]:
    """The printable stand-ins of the 256 bytes, as GPT-2's byte-level encoding orders them."""
    kept = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    moved = [byte for byte in range(256) if byte not in kept]
    symbol_of = {byte: chr(byte) for byte in kept} | {byte: chr(256 + place) for place, byte in enumerate(moved)}
    return [symbol_of[byte] for byte in range(256)]
