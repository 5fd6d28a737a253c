"""Owns the block tables: which block holds which stretch of each slot's tokens, and what of it is in the prefix cache.

Legend: S slots, B block-table columns, R some slots, A appended blocks. One block table per slot; one KV-cache group for now.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vllm.engine.kv_cache.block_pool import BlockPool
from vllm.engine.kv_cache.hashing import BlockHasher
from vllm.messages import Int32Array, Int64Array

__all__ = ["AppendedBlocks", "KVCacheManager"]


@dataclass(frozen=True, kw_only=True, slots=True)
class AppendedBlocks:
    """Blocks that slots got in a step, one entry per block."""

    slots_A: Int32Array
    index_A: Int32Array
    """Column of the slot's block table."""
    block_ids_A: Int32Array


_NO_BLOCKS = AppendedBlocks(
    slots_A=np.empty(0, np.int32), index_A=np.empty(0, np.int32), block_ids_A=np.empty(0, np.int32)
)


class KVCacheManager:
    """Gives blocks to slots and takes them back. Counting is done by the callers of `take` and `grow` before they call."""

    def __init__(
        self, *, num_slots: int, max_model_len: int, num_blocks: int, hasher: BlockHasher | None, block_size: int
    ) -> None:
        """`hasher` None: no prefix caching."""
        self.block_size = block_size
        self.pool = BlockPool(num_blocks)
        self.hasher = hasher
        self.block_table_SB: Int32Array = np.zeros((num_slots, self.blocks_for(max_model_len)), np.int32)
        self.num_blocks_S: Int32Array = np.zeros(num_slots, np.int32)
        self.capacity_S: Int32Array = np.zeros(num_slots, np.int32)
        """Tokens that the slot's blocks hold: num_blocks_S × block_size."""
        self.num_hashed_S: Int32Array = np.zeros(num_slots, np.int32)
        """Leading blocks of the slot that have been registered in the prefix cache."""
        self._chains: list[list[bytes]] = [[] for _ in range(num_slots)]
        """By slot: the request's chain, root first. Owned by the request; longer than num_hashed_S while its prompt is being computed."""

    def blocks_for(self, num_tokens: int) -> int:
        """Blocks that `num_tokens` tokens fill or begin."""
        return -(-num_tokens // self.block_size)

    # -- a request takes and leaves a slot ------------------------------------------------------------------------------------

    def find_hit(self, chain: list[bytes], token_ids_T: Int32Array) -> list[int]:
        """Cached blocks of the longest prefix of the tokens; never all of them, since the last token must be computed to go on.

        Extends `chain` by the full blocks of the tokens.
        """
        if self.hasher is None:
            return []
        self.hasher.extend(chain, token_ids_T, len(token_ids_T) // self.block_size)
        reusable = (len(token_ids_T) - 1) // self.block_size
        return self.pool.find(chain[1 : 1 + reusable])

    def can_take(self, num_tokens: int, hit: list[int], spare_blocks: int) -> bool:
        """Whether `take` would succeed and leave `spare_blocks` free."""
        fresh = self.blocks_for(num_tokens) - len(hit)
        return fresh + self.pool.num_idle(hit) + spare_blocks <= self.pool.num_free

    def take(self, slot: int, num_tokens: int, hit: list[int], chain: list[bytes]) -> Int32Array:
        """Fill the slot's empty table with the hit blocks and fresh ones for `num_tokens` tokens; returns its block ids."""
        assert self.num_blocks_S[slot] == 0, f"slot {slot} still holds blocks"
        self.pool.share(hit)
        blocks = hit + self.pool.take(self.blocks_for(num_tokens) - len(hit))
        self.block_table_SB[slot, : len(blocks)] = blocks
        self.num_blocks_S[slot] = len(blocks)
        self.capacity_S[slot] = len(blocks) * self.block_size
        self.num_hashed_S[slot] = len(hit)
        self._chains[slot] = chain
        return np.array(blocks, np.int32)

    def release(self, slot: int) -> None:
        """Give all blocks of the slot back."""
        self.pool.give_back(self.block_table_SB[slot, : self.num_blocks_S[slot]].tolist())
        self.num_blocks_S[slot] = self.capacity_S[slot] = self.num_hashed_S[slot] = 0
        self._chains[slot] = []

    def chain_of(self, slot: int) -> list[bytes]:
        """Root and block hashes of the request in the slot; for invariants."""
        return self._chains[slot]

    # -- a running request grows ----------------------------------------------------------------------------------------------

    def missing_blocks(self, slots_R: Int64Array, num_tokens_R: Int32Array) -> Int64Array:
        """[R] blocks that each slot lacks to hold so many tokens."""
        lacking = num_tokens_R - self.capacity_S[slots_R]
        missing_R: Int64Array = np.maximum(-(-lacking // self.block_size), 0).astype(np.int64)
        return missing_R

    def grow(self, slots_R: Int64Array, missing_R: Int64Array) -> AppendedBlocks:
        """Give each slot the blocks it lacks. The caller has checked that enough are free."""
        rows = np.nonzero(missing_R)[0]
        if not len(rows):
            return _NO_BLOCKS
        counts, slots = missing_R[rows], slots_R[rows]
        blocks_A = np.array(self.pool.take(int(counts.sum())), np.int32)
        slots_A = np.repeat(slots, counts).astype(np.int32)
        nth_A = np.arange(len(slots_A)) - np.repeat(np.cumsum(counts) - counts, counts)  # 0, 1, … within each slot
        index_A = (self.num_blocks_S[slots_A] + nth_A).astype(np.int32)
        self.block_table_SB[slots_A, index_A] = blocks_A
        self.num_blocks_S[slots] += counts.astype(np.int32)
        self.capacity_S[slots] = self.num_blocks_S[slots] * self.block_size
        return AppendedBlocks(slots_A=slots_A, index_A=index_A, block_ids_A=blocks_A)

    # -- blocks fill ----------------------------------------------------------------------------------------------------------

    def register_filled(self, slot: int, token_ids_T: Int32Array) -> None:
        """Put the slot's full blocks into the prefix cache. `token_ids_T`: its tokens from position 0 whose keys are written."""
        if self.hasher is None:
            return
        full, done, chain = len(token_ids_T) // self.block_size, int(self.num_hashed_S[slot]), self._chains[slot]
        if full <= done:
            return
        if full >= len(chain):
            self.hasher.extend(chain, token_ids_T, full)
        blocks = self.block_table_SB[slot, done:full].tolist()
        for block, block_hash in zip(blocks, chain[done + 1 : full + 1], strict=True):
            self.pool.register(block, block_hash)
        self.num_hashed_S[slot] = full

    def register_next(self, slots_R: Int64Array, tokens_SL: Int32Array) -> None:
        """Put the next unregistered block of each slot, which must be full, into the prefix cache: `register_filled` for many slots.

        The slots have decoded that block: its hash is the next of their chains.
        """
        assert self.hasher is not None, "without prefix caching no block is ever found full"
        digest, size, register = self.hasher.digest, self.hasher.block_bytes, self.pool.register
        column_R = self.num_hashed_S[slots_R]
        position_RT = column_R[:, None] * self.block_size + np.arange(self.block_size)
        data = tokens_SL[slots_R[:, None], position_RT].tobytes()
        blocks = self.block_table_SB[slots_R, column_R].tolist()
        for row, (slot, block) in enumerate(zip(slots_R.tolist(), blocks, strict=True)):
            chain = self._chains[slot]
            chain.append(digest(chain[-1] + data[row * size : (row + 1) * size]))
            register(block, chain[-1])
        self.num_hashed_S[slots_R] = column_R + 1

    def rows_with_filled(self, slots_R: Int64Array, num_tokens_R: Int32Array) -> Int64Array:
        """Indices of the rows that have a full block which is not registered; `num_tokens_R`: tokens whose keys are written."""
        if self.hasher is None:
            return np.empty(0, np.int64)
        unregistered_R = num_tokens_R - self.num_hashed_S[slots_R] * self.block_size
        return np.nonzero(unregistered_R >= self.block_size)[0]

    # -- the prefix cache as a whole ------------------------------------------------------------------------------------------

    def reset_prefix_cache(self) -> bool:
        """Forget all cached blocks; False, and nothing happens, while a block is in use."""
        if self.pool.num_used:
            return False
        self.pool.forget_all()
        return True

    @property
    def usage(self) -> float:
        """Used blocks / usable blocks."""
        return self.pool.num_used / self.pool.num_usable
