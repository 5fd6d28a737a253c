"""Owns block hashes: what makes two blocks hold the same keys and values.

A block's hash covers its own tokens and, through the hash before it, every token before them. The chain starts at a root that covers
what else changes the values (the cache salt, an adapter), so equal hashes mean equal caches. Only full blocks have a hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec

import numpy as np

from vllm.errors import ConfigError, near_names
from vllm.messages import Int32Array

__all__ = ["HASH_ALGORITHMS", "BlockHasher"]

Digest = Callable[[bytes], bytes]

HASH_ALGORITHMS = ("sha256", "xxhash")
"""Values of `prefix_caching_hash_algo`; xxhash is faster, not safe against crafted collisions, and needs the package of that name."""


class BlockHasher:
    """Extends hash chains. Hashes are bytes; the same in every process."""

    def __init__(self, algorithm: str, block_size: int) -> None:
        """Raises ConfigError for an unknown algorithm, or for xxhash where it is not installed."""
        self.digest = _digest_of(algorithm)
        self.block_size = block_size
        self.block_bytes = block_size * np.dtype(np.int32).itemsize

    def root(self, cache_salt: str | None = None, adapter: str | None = None) -> bytes:
        """Where the chain of a request starts."""
        # Lengths first: no two different pairs of keys write the same bytes.
        keys = [b"-" if key is None else b"+" + key.encode() for key in (cache_salt, adapter)]
        return self.digest(b"".join(len(key).to_bytes(8, "little") + key for key in keys))

    def extend(self, chain: list[bytes], token_ids_T: Int32Array, num_blocks: int) -> None:
        """Append to `chain` (root first) the hashes of the request's blocks up to `num_blocks`, all of which must be full.

        Args:
            chain: root, then the hash of each block hashed so far.
            token_ids_T: the request's tokens from position 0 on; int32.
            num_blocks: blocks that must be hashed on return.
        """
        first = len(chain) - 1
        data = token_ids_T[first * self.block_size : num_blocks * self.block_size].tobytes()
        assert len(data) == max(0, num_blocks - first) * self.block_bytes, "a block that is not full was to be hashed"
        digest, size = self.digest, self.block_bytes
        for start in range(0, len(data), size):
            chain.append(digest(chain[-1] + data[start : start + size]))


def _digest_of(algorithm: str) -> Digest:
    if algorithm == "sha256":
        return _sha256
    if algorithm == "xxhash":
        return _xxhash()
    raise ConfigError(
        f"prefix_caching_hash_algo={algorithm!r} is unknown.",
        remedy=f"Choose one of {', '.join(HASH_ALGORITHMS)}.",
        candidates=near_names(algorithm, HASH_ALGORITHMS),
    )


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _xxhash() -> Digest:
    if find_spec("xxhash") is None:
        raise ConfigError(
            "prefix_caching_hash_algo='xxhash' needs the package xxhash, which is not installed.",
            remedy="Install it (`pip install xxhash`), or take `--prefix-caching-hash-algo sha256`.",
        )
    digest: Digest = import_module("xxhash").xxh3_128_digest
    return digest
