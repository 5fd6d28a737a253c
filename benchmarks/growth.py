"""Owns the judgement whether something grows: a robust line through samples, and how sure its slope is.

Theil-Sen: the slope is the median of the slopes of all pairs of samples, so single peaks, and a rise that ends, count little. The spread
is Sen's interval for it (P. K. Sen, J. Am. Stat. Assoc. 63, 1968), in 99 of 100 cases if samples differ by chance alone; memory of one
look and of the next are not quite independent, so looks should be seconds apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

__all__ = ["Growth", "growth_of"]

_QUANTILE = 2.576
"""Of the normal distribution, for 99 of 100."""
FEWEST = 6
"""With fewer samples no interval is sure enough."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Growth:
    """By how much y grows while x grows by one, and between which values that lies."""

    slope: float
    low: float
    high: float
    samples: int

    def __str__(self) -> str:
        return f"{self.slope:+.2f} ({self.low:+.2f} to {self.high:+.2f}, {self.samples} samples)"

    def verdict(self, most: float) -> str:
        """Empty where the growth is shown to be less than `most`; else that it is more, or that nobody knows yet."""
        if self.high < most:
            return ""
        return (
            f"{self}: more than {most:g}" if self.low >= most else f"{self}: perhaps {most:g} or more, look for longer"
        )


def growth_of(xs: Sequence[float], ys: Sequence[float]) -> Growth:
    """How y grows with x. With fewer than FEWEST samples, or one x alone, anything may be: the spread is infinite."""
    pairs = [(i, j) for i in range(len(xs)) for j in range(i) if xs[i] != xs[j]]
    slopes = sorted((ys[i] - ys[j]) / (xs[i] - xs[j]) for i, j in pairs)
    slope = median(slopes) if slopes else 0.0
    if len(xs) < FEWEST or not slopes:
        return Growth(slope=slope, low=-math.inf, high=math.inf, samples=len(xs))
    low, high = _interval(len(slopes), len(xs))
    return Growth(slope=slope, low=slopes[low], high=slopes[high], samples=len(xs))


def _interval(pairs: int, samples: int) -> tuple[int, int]:
    """Which of the ordered slopes bound the true one: as far from the middle as Kendall's S lies from 0 by chance."""
    by_chance = _QUANTILE * math.sqrt(samples * (samples - 1) * (2 * samples + 5) / 18)
    low = max(0, math.floor((pairs - by_chance) / 2))
    return low, pairs - 1 - low
