"""Free list, block pool, hashing and the block tables: by hand, and against the naive twin."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec

import numpy as np
import pytest

from core.tests.engine.naive_kv_cache import NaiveKVCache
from vllm.engine.kv_cache.block_pool import BlockPool
from vllm.engine.kv_cache.free_list import FreeList
from vllm.engine.kv_cache.hashing import BlockHasher
from vllm.engine.kv_cache.invariants import check_kv_cache
from vllm.engine.kv_cache.manager import KVCacheManager
from vllm.errors import ConfigError


def make_manager(num_blocks: int = 9, block_size: int = 4, num_slots: int = 4) -> KVCacheManager:
    hasher = BlockHasher("sha256", block_size)
    return KVCacheManager(
        num_slots=num_slots, max_model_len=64, num_blocks=num_blocks, hasher=hasher, block_size=block_size
    )


def start(kv: KVCacheManager, slot: int, tokens: list[int], salt: str | None = None) -> list[int]:
    """Look up, take and register, as an admission with a prompt computed at once; returns the hit blocks."""
    assert kv.hasher is not None
    chain, token_ids = [kv.hasher.root(salt)], np.array(tokens, np.int32)
    hit = kv.find_hit(chain, token_ids)
    kv.take(slot, len(tokens), hit, chain)
    kv.register_filled(slot, token_ids)
    return hit


def table(kv: KVCacheManager, slot: int) -> list[int]:
    return kv.block_table_SB[slot, : kv.num_blocks_S[slot]].tolist()


def test_free_list_reuses_the_oldest_first():
    free = FreeList(6)
    assert list(free) == [1, 2, 3, 4, 5]
    assert free.pop(2) == [1, 2]
    free.remove(4)
    free.append(1)
    free.prepend(2)
    assert (list(free), len(free)) == ([2, 3, 5, 1], 4)
    assert free.pop(4) == [2, 3, 5, 1]
    assert list(free) == []
    free.append(3)
    assert list(free) == [3]


def test_free_list_is_a_list():
    """Random operations, beside a plain list."""
    random, free, twin = np.random.default_rng(1), FreeList(40), list(range(1, 40))
    out: list[int] = []
    for _ in range(2000):
        action = random.integers(4)
        if action == 0:
            count = int(random.integers(len(twin) + 1))
            taken, twin = twin[:count], twin[count:]
            assert free.pop(count) == taken
            out += taken
        elif action == 1 and twin:
            block = int(random.choice(twin))
            free.remove(block)
            twin.remove(block)
            out.append(block)
        elif out:
            block = out.pop(int(random.integers(len(out))))
            (free.append if action == 2 else free.prepend)(block)
            twin.insert(len(twin) if action == 2 else 0, block)
        assert list(free) == twin
        assert len(free) == len(twin)


def test_a_block_in_use_is_never_evicted():
    pool = BlockPool(4)
    first, second = pool.take(2)
    pool.register(first, b"first")
    pool.give_back([first])
    pool.share([first])
    assert (pool.num_free, pool.ref_counts) == (1, [0, 1, 1, 0])
    assert pool.take(1) == [3]
    assert pool.find([b"first"]) == [first]
    pool.give_back([first, second])
    assert pool.take(1) == [second]  # it holds nothing that anybody could want
    assert pool.take(1) == [first]
    assert pool.find([b"first"]) == []


def test_chain_hash_by_hand():
    hasher = BlockHasher("sha256", 2)
    root = hasher.root()
    chain = [root]
    hasher.extend(chain, np.array([1, 2, 3, 4, 5], np.int32), 2)
    first = hashlib.sha256(root + bytes([1, 0, 0, 0, 2, 0, 0, 0])).digest()
    assert chain == [root, first, hashlib.sha256(first + bytes([3, 0, 0, 0, 4, 0, 0, 0])).digest()]


def test_roots_differ_by_every_key():
    hasher = BlockHasher("sha256", 4)
    keys = [(None, None), ("", None), (None, ""), ("a", None), (None, "a"), ("a", "b"), ("ab", None), ("-", None)]
    assert len({hasher.root(*key) for key in keys}) == len(keys)


def test_unknown_hash_algorithm_is_named():
    with pytest.raises(ConfigError, match=r"'sha265' is unknown(.|\n)*Did you mean: sha256"):
        BlockHasher("sha265", 4)


@pytest.mark.skipif(find_spec("xxhash") is not None, reason="xxhash is installed")
def test_xxhash_without_its_package_says_what_to_do():
    with pytest.raises(ConfigError, match="pip install xxhash"):
        BlockHasher("xxhash", 4)


@pytest.mark.skipif(find_spec("xxhash") is None, reason="xxhash is not installed")
def test_xxhash_chains():
    hasher = BlockHasher("xxhash", 1)
    chain = [hasher.root()]
    hasher.extend(chain, np.array([5, 5], np.int32), 2)
    assert len(set(chain)) == 3


def test_tables_by_hand():
    kv = make_manager()
    assert start(kv, 0, [1, 2, 3, 4, 5, 6]) == []
    assert table(kv, 0) == [1, 2]
    assert start(kv, 1, [1, 2, 3, 4, 9]) == [1]  # one full block in common
    assert (table(kv, 1), kv.pool.ref_counts[:4]) == ([1, 3], [0, 2, 1, 1])
    missing = kv.missing_blocks(np.array([0, 1]), np.array([8, 13], np.int32))
    assert missing.tolist() == [0, 2]
    appended = kv.grow(np.array([0, 1]), missing)
    assert appended.slots_A.tolist() == [1, 1]
    assert appended.index_A.tolist() == [2, 3]
    assert appended.block_ids_A.tolist() == [4, 5]
    kv.release(0)
    assert list(kv.pool.free) == [2, 6, 7, 8]  # block 1 is shared; block 2 was never full
    kv.release(1)
    assert kv.pool.num_free == 8
    assert list(kv.pool.free)[-1] == 1


@pytest.mark.parametrize("length,hit_blocks", [(3, 0), (4, 0), (5, 1), (8, 1), (9, 2)])
def test_a_hit_leaves_the_last_token_to_compute(length, hit_blocks):
    kv = make_manager()
    tokens = list(range(1, 10))
    start(kv, 0, tokens)
    kv.release(0)
    assert len(start(kv, 1, tokens[:length])) == hit_blocks


def test_a_hit_on_free_blocks_counts_against_the_free_ones():
    kv = make_manager(num_blocks=4)
    start(kv, 0, list(range(9)))
    kv.release(0)
    chain = [kv.hasher.root()]
    longer = np.arange(13, dtype=np.int32)
    hit = kv.find_hit(chain, longer)
    assert len(hit) == 2
    assert kv.can_take(12, hit, 0)
    assert not kv.can_take(12, hit, 1)
    assert not kv.can_take(13, hit, 0)


def test_salt_separates():
    kv = make_manager()
    start(kv, 0, [1] * 9, salt="a")
    assert len(start(kv, 1, [1] * 9, salt="b")) == 0
    assert len(start(kv, 2, [1] * 9, salt="a")) == 2


def test_reset_only_while_nothing_is_held():
    kv = make_manager()
    start(kv, 0, [1] * 9)
    assert not kv.reset_prefix_cache()
    kv.release(0)
    assert kv.reset_prefix_cache()
    assert start(kv, 0, [1] * 9) == []


@pytest.mark.parametrize("seed", range(6))
def test_same_decisions_as_the_naive_twin(seed):
    """Random admissions with common prefixes, growth and releases: the same block ids everywhere, and the laws hold."""
    random = np.random.default_rng(seed)
    block_size = int(random.integers(1, 5))
    kv, twin = make_manager(14, block_size), NaiveKVCache(14, block_size)
    tokens: dict[int, list[int]] = {}
    for _ in range(300):
        slot = int(random.integers(4))
        if slot not in tokens:
            prompt = random.integers(1, 3, size=random.integers(1, 12)).tolist()
            salt = [None, "s"][int(random.integers(2))]
            _admit(kv, twin, tokens, slot, prompt, salt)
        elif random.random() < 0.25:
            kv.release(slot)
            twin.release(slot)
            del tokens[slot]
        else:
            _decode(kv, twin, tokens, slot, int(random.integers(1, 3)))
        assert list(kv.pool.free) == twin.free
        assert {slot: table(kv, slot) for slot in tokens} == twin.table
        check_kv_cache(kv, {slot: np.array(known, np.int32) for slot, known in tokens.items()})


def _admit(kv, twin, tokens, slot, prompt, salt):
    chain = [kv.hasher.root(salt)]
    token_ids = np.array(prompt, np.int32)
    hit = kv.find_hit(chain, token_ids)
    assert hit == twin.find_hit(salt, prompt)
    fits = kv.can_take(len(prompt), hit, 0)
    assert fits == twin.take(slot, salt, prompt, hit)
    if fits:
        tokens[slot] = prompt
        kv.take(slot, len(prompt), hit, chain)
        kv.register_filled(slot, token_ids)
        twin.register(slot, prompt)


def _decode(kv, twin, tokens, slot, token):
    known = [*tokens[slot], token]
    slots_R, total_R = np.array([slot]), np.array([len(known)], np.int32)
    missing_R = kv.missing_blocks(slots_R, total_R)
    if missing_R.sum() > kv.pool.num_free or len(known) > 60:
        return
    kv.grow(slots_R, missing_R)
    for _ in range(int(missing_R[0])):
        twin.grow(slot)
    tokens[slot] = known
    tokens_SL = np.zeros((4, 64), np.int32)
    tokens_SL[slot, : len(known)] = known
    if len(kv.rows_with_filled(slots_R, total_R)):
        kv.register_next(slots_R, tokens_SL)
    twin.register(slot, known)


@pytest.mark.parametrize("break_it", ["count", "free", "hash", "shared"])
def test_the_laws_notice_a_broken_cache(break_it):
    kv = make_manager()
    known = np.arange(6, dtype=np.int32)
    start(kv, 0, known.tolist())
    check_kv_cache(kv, {0: known})
    if break_it == "count":
        kv.pool.ref_counts[1] += 1
    elif break_it == "free":
        kv.pool.free.append(1)
    elif break_it == "hash":
        kv.pool.hash_of[2] = b"x"
    else:
        kv.block_table_SB[1, 0], kv.num_blocks_S[1] = 1, 1
    with pytest.raises(AssertionError):
        check_kv_cache(kv, {0: known})
