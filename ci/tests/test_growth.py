"""The judge of the soak: made-up memory that leaks, levels off, jumps or flickers."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from benchmarks.growth import growth_of

MOST_MB = 1.0
Memory = Callable[[float, random.Random], float]
"""MB after so many thousand requests."""


def leaking(mb: float, noise_mb: float) -> Memory:
    return lambda thousands, chance: 400 + mb * thousands + chance.gauss(0, noise_mb)


def levelling(rise_mb: float, until: float) -> Memory:
    """A rest of what caches still take: most of it in the first `until` thousand requests."""
    return lambda thousands, chance: 400 + rise_mb * (1 - math.exp(-thousands / until)) + chance.gauss(0, 1)


def with_peaks(thousands: float, chance: random.Random) -> float:
    """Now and then large bodies are held."""
    return 400 + (150 if chance.random() < 0.2 else 0) + chance.gauss(0, 1)


def stepping(thousands: float, chance: random.Random) -> float:
    """An arena more, once."""
    return 400 + (6 if thousands > 7 else 0) + chance.gauss(0, 1)


def verdicts(memory: Memory, samples: int = 60) -> list[str]:
    """Of twenty runs of 15,000 requests."""
    found = []
    for seed in range(20):
        chance = random.Random(seed)
        thousands = [15 * (index + chance.random()) / samples for index in range(samples)]
        found.append(growth_of(thousands, [memory(each, chance) for each in thousands]).verdict(MOST_MB))
    return found


@pytest.mark.parametrize("noise_mb", [0.1, 1, 3])
def test_a_leak_of_the_limit_is_found(noise_mb: float) -> None:
    """In 20 of 20 made-up runs: a spread that reaches the limit is no pass."""
    assert all(verdicts(leaking(MOST_MB, noise_mb)))


def test_a_larger_leak_is_called_one() -> None:
    assert all("more than 1" in words for words in verdicts(leaking(1.5, 1)))


@pytest.mark.parametrize(
    "memory",
    [leaking(0, 0), leaking(0, 3), leaking(0.3, 1), leaking(-1, 1), levelling(10, 1.5), with_peaks, stepping],
    ids=["still", "flickering", "slow", "shrinking", "levelling", "peaks", "step"],
)
def test_what_does_not_leak_passes(memory: Memory) -> None:
    assert not any(verdicts(memory))


def test_what_still_fills_does_not_pass() -> None:
    """30 MB over the whole run, less and less steep: the warm-up was too short, and the judge must say so."""
    assert all(verdicts(levelling(30, 10)))


def test_few_samples_or_much_noise_decide_nothing() -> None:
    assert all("look for longer" in words for words in verdicts(leaking(0, 1), samples=5))
    assert all("look for longer" in words for words in verdicts(leaking(0, 100), samples=8))


def test_the_slope_and_its_spread() -> None:
    """y = 2x but for one sample, which is 54 too high.

    Of the 21 slopes 15 are 2; the others are 2 + 54/3, 54/2, 54/1 and 2 - 54/1, 54/2, 54/3. S varies by sqrt(7 * 6 * 19 / 18) = 6.66,
    2.576 times that is 17.2, so (21 - 17.2) / 2 = 1.9: one slope is left out at each end.
    """
    growth = growth_of([0, 1, 2, 3, 4, 5, 6], [0, 2, 4, 60, 8, 10, 12])
    assert (growth.slope, growth.low, growth.high) == (2, 2 - 27, 2 + 27)
    assert str(growth) == "+2.00 (-25.00 to +29.00, 7 samples)"


def test_one_place_has_no_slope() -> None:
    assert growth_of([3] * 10, list(range(10))).verdict(MOST_MB)
    assert growth_of([], []).verdict(MOST_MB)
