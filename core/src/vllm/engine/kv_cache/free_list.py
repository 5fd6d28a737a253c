"""Owns the order in which free blocks are reused: a doubly linked list held in two arrays, every operation O(1)."""

from __future__ import annotations

from collections.abc import Iterator

from vllm.worker.kv_cache_spec import NULL_BLOCK

__all__ = ["FreeList"]


class FreeList:
    """Free blocks, least recently used first. Node 0, the null block, which is never free, closes the ring.

    Plain lists, not numpy: single elements of a list are read five times faster.
    """

    def __init__(self, num_blocks: int) -> None:
        """All blocks 1 … num_blocks - 1 are free, in ascending order."""
        self._next = [*range(1, num_blocks), NULL_BLOCK]
        self._prev = [num_blocks - 1, *range(num_blocks - 1)]
        self._size = num_blocks - 1

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[int]:
        """Least recently used first. For tests and invariants."""
        block = self._next[NULL_BLOCK]
        while block != NULL_BLOCK:
            yield block
            block = self._next[block]

    def pop(self, count: int) -> list[int]:
        """Take the `count` least recently used blocks."""
        assert count <= self._size, f"{count} blocks wanted, {self._size} free"
        blocks, following = [], self._next
        block = following[NULL_BLOCK]
        for _ in range(count):
            blocks.append(block)
            block = following[block]
        following[NULL_BLOCK] = block
        self._prev[block] = NULL_BLOCK
        self._size -= count
        return blocks

    def remove(self, block: int) -> None:
        """Take one block out of the middle: it holds what somebody wants."""
        before, after = self._prev[block], self._next[block]
        self._next[before] = after
        self._prev[after] = before
        self._size -= 1

    def append(self, block: int) -> None:
        """Add as the most recently used."""
        self._insert(self._prev[NULL_BLOCK], block, NULL_BLOCK)

    def prepend(self, block: int) -> None:
        """Add as the first to be reused: it holds nothing anybody could want."""
        self._insert(NULL_BLOCK, block, self._next[NULL_BLOCK])

    def _insert(self, before: int, block: int, after: int) -> None:
        self._prev[block], self._next[block] = before, after
        self._next[before] = block
        self._prev[after] = block
        self._size += 1
