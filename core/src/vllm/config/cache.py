"""The KV cache: block size, how much memory, prefix caching."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CacheConfig"]


@dataclass(frozen=True, kw_only=True)
class CacheConfig:
    """How keys and values are kept. `num_blocks` is filled in after the worker has measured its memory."""

    block_size: int = 16
    """Tokens per block."""
    memory_utilization: float = 0.9
    """Share of the device's memory that the engine may use (`--gpu-memory-utilization`)."""
    kv_cache_memory_bytes: int | None = None
    """Exact size; overrides memory_utilization."""
    num_blocks_override: int | None = None
    num_blocks: int | None = None
    cache_dtype: str = "auto"
    """auto = the model's dtype."""
    enable_prefix_caching: bool = True
    prefix_caching_hash_algo: str = "sha256"
    watermark: float = 0.0
    """Share of the blocks kept free when a waiting request is admitted."""
