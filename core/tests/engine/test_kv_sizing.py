"""How many blocks memory pays for, and what is said when they are too few."""

from __future__ import annotations

import pytest

from vllm.config import ModelConfig, VllmConfig
from vllm.engine.kv_sizing import size_kv_cache
from vllm.errors import ConfigError
from vllm.worker.kv_cache_spec import KVCacheGroup, KVCacheSpec

SPEC = KVCacheSpec(block_size=16, num_kv_heads=1, head_size=1, dtype="float32", bytes_per_block=1000)
GROUP = KVCacheGroup(layer_names=("a", "b"), spec=SPEC)
"""2,000 bytes per block of 16 tokens."""


def sized(available_bytes: int) -> tuple[int, int]:
    """Blocks, and tokens that one request may have."""
    model = ModelConfig(model="m", served_model_name="m", tokenizer="m", max_model_len=64)
    cache, config = size_kv_cache(VllmConfig(model_config=model), (GROUP,), available_bytes)
    return cache.num_blocks, config.model_config.max_model_len


def test_blocks_that_memory_pays_for() -> None:
    assert sized(5 * 2000) == (5, 64), "four for requests, and the null block"
    assert sized(7 * 2000 + 1999) == (7, 64)


def test_too_few_blocks_say_how_long_a_context_would_fit() -> None:
    with pytest.raises(ConfigError, match="holds only 48 tokens") as told:
        sized(4 * 2000)
    assert "lower --max-model-len to 48 or less, or give the cache more memory" in str(told.value)


@pytest.mark.parametrize("available_bytes", [-5000, 0, 2000, 3999])
def test_no_block_at_all_recommends_no_shorter_context(available_bytes: int) -> None:
    with pytest.raises(ConfigError, match="holds only 0 tokens") as told:
        sized(available_bytes)
    assert "lower --max-model-len" not in str(told.value)
    assert "Remedy: give the cache more memory: raise --gpu-memory-utilization" in str(told.value)
