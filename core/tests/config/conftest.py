"""Owns what the tests of the configuration share: model folders that hold a config and no weights."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "dtype": "bfloat16",
    "hidden_size": 64,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_hidden_layers": 2,
    "max_position_embeddings": 4096,
    "vocab_size": 100,
    "eos_token_id": 7,
}


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., str]:
    """Write a model folder that holds a config (and a generation config), give its path."""

    def write(generation_config: Mapping[str, Any] | None = None, **changes: Any) -> str:
        folder = tmp_path / "model"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps({**LLAMA, **changes}))
        if generation_config is not None:
            (folder / "generation_config.json").write_text(json.dumps(generation_config))
        return str(folder)

    return write
