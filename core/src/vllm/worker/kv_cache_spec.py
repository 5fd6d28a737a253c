"""What the KV cache of a model looks like: the agreement between runner (allocates), scheduler (counts) and attention (indexes)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["NULL_BLOCK", "KVCacheConfig", "KVCacheGroup", "KVCacheSpec"]

NULL_BLOCK = 0
"""Block that the scheduler never hands out: padding rows write their keys and values there, and nobody reads them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KVCacheSpec:
    """One layer's cache on one rank."""

    block_size: int
    """Tokens per block."""
    num_kv_heads: int
    """Heads on this rank."""
    head_size: int
    dtype: str
    """torch dtype name of the stored keys and values."""
    bytes_per_block: int
    """Keys and values of one block of this layer on this rank."""
    sliding_window: int | None = None
    """Tokens that a query sees including itself; None = all before it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KVCacheGroup:
    """Layers that share one block table."""

    layer_names: tuple[str, ...]
    spec: KVCacheSpec

    @property
    def bytes_per_block(self) -> int:
        """One block of every layer of the group, in bytes."""
        return self.spec.bytes_per_block * len(self.layer_names)


@dataclass(frozen=True, kw_only=True, slots=True)
class KVCacheConfig:
    """The sized cache: every rank allocates this."""

    num_blocks: int
    """All blocks, the null block included: requests get 1 … num_blocks - 1."""
    block_size: int
    groups: tuple[KVCacheGroup, ...]
