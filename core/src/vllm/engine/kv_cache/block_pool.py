"""Owns every block of the cache: who uses it (reference counts), what it holds (its hash), and in which order free ones are reused.

A block is in use (count >= 1) or free (count 0). A free block keeps its hash until it is taken for something else: that is the prefix
cache. A block in use is never evicted, because only free blocks are ever taken.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vllm.engine.kv_cache.free_list import FreeList

__all__ = ["BlockPool"]


class BlockPool:
    """Blocks 1 … num_blocks - 1; block 0 is the null block and is never handed out."""

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self.free = FreeList(num_blocks)
        self.ref_counts = [0] * num_blocks
        self.hash_of: list[bytes | None] = [None] * num_blocks
        self.block_of: dict[bytes, int] = {}

    @property
    def num_usable(self) -> int:
        """Blocks that requests can have."""
        return self.num_blocks - 1

    @property
    def num_free(self) -> int:
        """Blocks that can be taken now, cached ones included."""
        return len(self.free)

    @property
    def num_used(self) -> int:
        """Blocks that some request holds."""
        return self.num_usable - len(self.free)

    def take(self, count: int) -> list[int]:
        """`count` blocks for new content, count 1 each; what they held is forgotten. The caller has checked `num_free`."""
        blocks = self.free.pop(count)
        ref_counts, hash_of = self.ref_counts, self.hash_of
        for block in blocks:
            ref_counts[block] = 1
            if hash_of[block] is not None:
                self._forget(block)
        return blocks

    def share(self, blocks: Iterable[int]) -> None:
        """One more user for each block: a prefix-cache hit."""
        for block in blocks:
            if self.ref_counts[block] == 0:
                self.free.remove(block)
            self.ref_counts[block] += 1

    def give_back(self, blocks: Sequence[int]) -> None:
        """One user less for each of a request's blocks, which come in the order of its tokens.

        The last block is reused first: a prefix is worth more than what follows it. A block without a hash goes before all others.
        """
        ref_counts, hash_of, free = self.ref_counts, self.hash_of, self.free
        for block in reversed(blocks):
            ref_counts[block] -= 1
            if ref_counts[block] == 0:
                if hash_of[block] is None:
                    free.prepend(block)
                else:
                    free.append(block)

    def register(self, block: int, block_hash: bytes) -> None:
        """Make a full block findable. Where another block holds the same already, that one stays the one that is found."""
        if self.block_of.setdefault(block_hash, block) == block:
            self.hash_of[block] = block_hash

    def find(self, block_hashes: Iterable[bytes]) -> list[int]:
        """The blocks of the longest known prefix of the chain."""
        found: list[int] = []
        for block_hash in block_hashes:
            block = self.block_of.get(block_hash)
            if block is None:
                break
            found.append(block)
        return found

    def num_idle(self, blocks: Iterable[int]) -> int:
        """How many of the blocks are free: sharing them takes that many from `num_free`."""
        return sum(self.ref_counts[block] == 0 for block in blocks)

    def forget_all(self) -> None:
        """Empty the prefix cache. The caller has checked that no block is in use."""
        assert self.num_used == 0, "the prefix cache cannot be emptied while blocks are in use"
        for block in self.block_of.values():
            self.hash_of[block] = None
        self.block_of.clear()

    def _forget(self, block: int) -> None:
        block_hash = self.hash_of[block]
        assert block_hash is not None
        del self.block_of[block_hash]
        self.hash_of[block] = None
