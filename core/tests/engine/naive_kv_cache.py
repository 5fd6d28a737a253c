"""The naive twin of block pool, free list and prefix cache: plain lists and whole prefixes instead of links and hashes."""

from __future__ import annotations

Prefix = tuple[str | None, tuple[int, ...]]


class NaiveKVCache:
    """Same decisions as the KVCacheManager, block id by block id; every operation walks through everything."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        self.free = list(range(1, num_blocks))
        self.content: dict[int, Prefix] = {}
        self.table: dict[int, list[int]] = {}
        self.salt_of: dict[int, str | None] = {}
        self.registered: dict[int, int] = {}

    def _prefixes(self, salt: str | None, tokens: list[int]) -> list[Prefix]:
        ends = range(self.block_size, len(tokens) + 1, self.block_size)
        return [(salt, tuple(tokens[:end])) for end in ends]

    def find_hit(self, salt: str | None, tokens: list[int]) -> list[int]:
        hit: list[int] = []
        for prefix in self._prefixes(salt, tokens[:-1]):
            holders = [block for block, content in self.content.items() if content == prefix]
            if not holders:
                break
            hit += holders
        return hit

    def _fresh(self) -> int:
        block = self.free.pop(0)
        self.content.pop(block, None)
        return block

    def take(self, slot: int, salt: str | None, tokens: list[int], hit: list[int]) -> bool:
        wanted = -(-len(tokens) // self.block_size) - len(hit)
        free_without_hit = [block for block in self.free if block not in hit]
        if wanted > len(free_without_hit):
            return False
        self.free = free_without_hit
        self.salt_of[slot], self.registered[slot] = salt, len(hit)
        self.table[slot] = hit + [self._fresh() for _ in range(wanted)]
        return True

    def grow(self, slot: int) -> None:
        self.table[slot].append(self._fresh())

    def register(self, slot: int, tokens: list[int]) -> None:
        """Each full block once: a block that came second stays unknown, even when the first is evicted later."""
        prefixes = self._prefixes(self.salt_of[slot], tokens)
        for index in range(self.registered[slot], len(prefixes)):
            if prefixes[index] not in self.content.values():
                self.content[self.table[slot][index]] = prefixes[index]
        self.registered[slot] = len(prefixes)

    def release(self, slot: int) -> None:
        for block in reversed(self.table.pop(slot)):
            if any(block in blocks for blocks in self.table.values()):
                continue
            if block in self.content:
                self.free.append(block)
            else:
                self.free.insert(0, block)
