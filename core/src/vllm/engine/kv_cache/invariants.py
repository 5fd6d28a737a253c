"""Owns the laws of the KV cache: blocks balance, no block is in two places, hashes say what is in the blocks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vllm.engine.kv_cache.block_pool import BlockPool
from vllm.engine.kv_cache.manager import KVCacheManager
from vllm.messages import Int32Array

__all__ = ["check_kv_cache"]


def check_kv_cache(kv: KVCacheManager, tokens_of: Mapping[int, Int32Array]) -> None:
    """Raise AssertionError, with what disagrees. `tokens_of`: known tokens of each slot that may hold blocks."""
    pool = kv.pool
    _check_free_list(pool)
    _check_hash_map(pool)
    _check_users(kv, list(tokens_of))
    for slot, token_ids in tokens_of.items():
        _check_table(kv, slot)
        _check_hashes(kv, slot, token_ids)


def _check_free_list(pool: BlockPool) -> None:
    free = list(pool.free)
    unused = [block for block in range(1, pool.num_blocks) if pool.ref_counts[block] == 0]
    assert sorted(free) == unused, f"free list {sorted(free)}, blocks without users {unused}"
    assert len(free) == len(pool.free) == pool.num_free
    assert pool.num_used + pool.num_free == pool.num_usable, "blocks do not balance"
    assert pool.ref_counts[0] == 0, "the null block was handed out"
    assert pool.hash_of[0] is None, "the null block was registered"


def _check_hash_map(pool: BlockPool) -> None:
    by_hash = {block_hash: block for block, block_hash in enumerate(pool.hash_of) if block_hash is not None}
    assert by_hash == pool.block_of, "hashes of blocks and blocks of hashes disagree"


def _check_users(kv: KVCacheManager, slots: list[int]) -> None:
    """Each block has as many users as tables name it."""
    others = np.delete(kv.num_blocks_S, slots)
    assert not others.any(), "a free slot holds blocks"
    named = [kv.block_table_SB[slot, : kv.num_blocks_S[slot]] for slot in slots]
    counts = np.bincount(np.concatenate([*named, np.empty(0, np.int32)]), minlength=kv.pool.num_blocks)
    assert counts.tolist() == kv.pool.ref_counts, f"tables count {counts.tolist()}, pool {kv.pool.ref_counts}"


def _check_table(kv: KVCacheManager, slot: int) -> None:
    blocks = kv.block_table_SB[slot, : kv.num_blocks_S[slot]].tolist()
    assert len(set(blocks)) == len(blocks), f"slot {slot} has a block twice: {blocks}"
    assert kv.capacity_S[slot] == len(blocks) * kv.block_size
    assert kv.num_hashed_S[slot] <= len(blocks)
    shared = [block for block in blocks[kv.num_hashed_S[slot] :] if kv.pool.ref_counts[block] > 1]
    assert not shared, f"slot {slot}: blocks {shared} are shared and still being written"


def _check_hashes(kv: KVCacheManager, slot: int, token_ids: Int32Array) -> None:
    """A registered block holds the tokens that its hash covers."""
    if kv.hasher is None or not kv.num_blocks_S[slot]:
        return
    chain = kv.chain_of(slot)
    anew = chain[:1]
    kv.hasher.extend(anew, token_ids, int(kv.num_hashed_S[slot]))
    assert chain[: len(anew)] == anew, f"slot {slot}: its chain is not that of its tokens"
    for column in range(kv.num_hashed_S[slot]):
        block_hash = kv.pool.hash_of[kv.block_table_SB[slot, column]]
        # None: another block with the same content was first.
        assert block_hash in (None, anew[column + 1]), f"slot {slot}, column {column}: the block has another hash"
