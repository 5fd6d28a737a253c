"""The choice of the attention backend, and what it refuses before a weight is read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from core.tests.models.checkpoints import Family
from core.tests.models.running import load, make_context
from vllm.attention.selection import select_attention_backend
from vllm.config import CacheConfig, ModelConfig, VllmConfig
from vllm.errors import ConfigError
from vllm.platforms.interface import Platform
from vllm.testing.dense_attention import DenseAttention

DENSE = "vllm.testing.dense_attention.DenseAttention"


class Narrow(DenseAttention):
    """Can little."""

    supported_dtypes = ("float16",)
    supported_head_sizes = (64, 128)
    block_size_multiple = 32
    supports_sliding_window = False
    supports_logits_soft_cap = False


class PlainPlatform(Platform):
    """Names the dense oracle."""

    name = "plain"
    device_type = "cpu"

    def get_device_name(self, device_id: int = 0) -> str:
        return "plain"

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        return 1, 1

    def supported_dtypes(self) -> tuple[str, ...]:
        return ("float32",)

    def get_attn_backend_cls(self) -> str:
        return DENSE

    def capabilities(self) -> dict[Any, Any]:
        return {}


def _config(backend: str | None = None, *, block_size: int = 16, dtype: str = "float32") -> VllmConfig:
    model = ModelConfig(model="m", served_model_name="m", tokenizer="m", dtype=dtype)
    return VllmConfig(model_config=model, cache_config=CacheConfig(block_size=block_size), attention_backend=backend)


def test_the_platform_names_it_unless_the_user_does() -> None:
    assert select_attention_backend(_config(), PlainPlatform()) is DenseAttention
    narrow = _config(f"{__name__}:Narrow", block_size=64, dtype="float16")
    assert select_attention_backend(narrow, PlainPlatform()).__name__ == "Narrow"


@pytest.mark.parametrize(
    "path, message",
    [
        ("Dense", "give a dotted path"),
        ("no.such.module.Dense", "importing no.such.module failed"),
        (f"{DENSE[:-1]}", "Did you mean: DenseAttention"),
        ("vllm.testing.dense_attention.DenseMetadata", "no subclass of AttentionBackend"),
    ],
)
def test_what_is_no_backend(path: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        select_attention_backend(_config(path), PlainPlatform())
    assert "--attention-backend" in str(caught.value)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"block_size": 64}, "cannot do dtype float32; it can float16"),
        ({"dtype": "float16", "block_size": 48}, "--block-size 48; it needs a multiple of 32"),
    ],
)
def test_a_backend_that_cannot_run_the_configuration(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        select_attention_backend(_config(f"{__name__}.Narrow", **settings), PlainPlatform())


@pytest.mark.parametrize(
    "family, message",
    [
        (Family("llama", "LlamaConfig"), "head size of 16 .layer layers.0.self_attn.attention.; it can 64, 128"),
        (Family("mistral", "MistralConfig", {"sliding_window": 9, "head_dim": 64}), "sliding window, which layer"),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_a_backend_that_cannot_compute_a_layer(tmp_path: Path, family: Family, message: str) -> None:
    family.write(tmp_path)
    with pytest.raises(ConfigError, match=message):
        load(tmp_path, attention=Narrow(torch.device("cpu")))


def test_an_unknown_quantisation_by_option(tmp_path: Path) -> None:
    from vllm.model_executor.loader import build_model

    Family("llama", "LlamaConfig").write(tmp_path)
    context = make_context(tmp_path)
    context = replace(context, config=context.config.with_changes(model_config={"quantization": "fp7"}))
    with pytest.raises(ConfigError, match="by the method 'fp7', which is not known"):
        build_model(context)
