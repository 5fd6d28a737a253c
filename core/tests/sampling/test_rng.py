"""The counter-based uniforms: fixed values, ranges, distribution, and no dependence between neighbouring counters."""

from __future__ import annotations

import numpy as np

from vllm.sampling.rng import uniforms

MASK = (1 << 64) - 1


def splitmix_by_hand(seed: int, position: int, stage: int) -> float:
    """The documented definition in Python integers."""

    def mix(word: int) -> int:
        word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
        return word ^ (word >> 31)

    golden = 0x9E3779B97F4A7C15
    key = mix((seed + golden * (position + 1)) & MASK)
    return (mix((key + golden * (stage + 1)) & MASK) >> 41) * 2.0**-23


def test_values_follow_the_documented_hash() -> None:
    seeds, positions = [0, 1, 2**63 - 1, 12345], [0, 7, 131071, 500]
    actual = uniforms(np.array(seeds, np.uint64), np.array(positions), 3)
    expected = [[splitmix_by_hand(s, p, stage) for stage in range(3)] for s, p in zip(seeds, positions, strict=True)]
    np.testing.assert_array_equal(actual, np.array(expected, np.float32))


def test_the_hash_is_splitmix64() -> None:
    """First output of SplitMix64 seeded with 0, as published with the algorithm: 0xE220A8397B1DCDAF."""
    key = 0xE220A8397B1DCDAF
    bits = splitmix_by_hand(0, 0, 0)
    golden = 0x9E3779B97F4A7C15
    word = (key + golden) & MASK
    word = ((word ^ (word >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    word = ((word ^ (word >> 27)) * 0x94D049BB133111EB) & MASK
    assert bits == ((word ^ (word >> 31)) >> 41) * 2.0**-23


def test_a_draw_depends_on_nothing_but_its_seed_and_position() -> None:
    seeds, positions = np.arange(100, dtype=np.uint64), np.arange(100) * 3
    batch = uniforms(seeds, positions, 2)
    alone = [uniforms(seeds[i : i + 1], positions[i : i + 1], 2)[0] for i in range(100)]
    np.testing.assert_array_equal(batch, alone)


def test_uniforms_fill_the_unit_interval_evenly() -> None:
    values = uniforms(np.zeros(64_000, np.uint64), np.arange(64_000), 1)[:, 0]
    assert values.min() >= 0
    assert values.max() <= 1 - 2.0**-23
    counts, _ = np.histogram(values, bins=64, range=(0, 1))
    chi_square = ((counts - 1000) ** 2 / 1000).sum()
    assert chi_square < 103.4  # 99.9 % of chi-square with 63 degrees of freedom


def test_neighbouring_seeds_positions_and_stages_are_uncorrelated() -> None:
    count = 20_000
    by_position = uniforms(np.full(count, 9, np.uint64), np.arange(count), 2)
    by_seed = uniforms(np.arange(count, dtype=np.uint64), np.full(count, 9), 1)[:, 0]
    pairs = [
        (by_position[:-1, 0], by_position[1:, 0]),
        (by_seed[:-1], by_seed[1:]),
        (by_position[:, 0], by_position[:, 1]),
        (by_position[:, 0], by_seed),
    ]
    bound = 4 / np.sqrt(count)
    assert all(abs(np.corrcoef(a, b)[0, 1]) < bound for a, b in pairs)
