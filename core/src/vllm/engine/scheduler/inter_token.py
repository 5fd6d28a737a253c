"""Owns the histogram of the times between a request's tokens, kept in arrays: a step of many rows costs a few numpy calls."""

from __future__ import annotations

import numpy as np

from vllm.engine.latency_buckets import INTER_TOKEN_BOUNDS_S
from vllm.messages import Int64Array

__all__ = ["InterTokenTimes"]

_BOUNDS_B = np.array(INTER_TOKEN_BOUNDS_S)


class InterTokenTimes:
    """Counts by bucket since the start of the engine; the last bucket has no bound."""

    def __init__(self) -> None:
        self._counts_B: Int64Array = np.zeros(len(_BOUNDS_B) + 1, np.int64)
        self.sum_s = 0.0

    def add(self, gaps_R: np.typing.NDArray[np.float64]) -> None:
        """One gap per token, in seconds."""
        buckets_R = np.searchsorted(_BOUNDS_B, gaps_R)  # a gap equal to a bound belongs below it, as Prometheus has it
        self._counts_B += np.bincount(buckets_R, minlength=len(self._counts_B))
        self.sum_s += float(gaps_R.sum())

    @property
    def counts(self) -> tuple[int, ...]:
        """Gaps per bucket, not cumulated."""
        return tuple(self._counts_B.tolist())
