"""Owns which decode rows go into a step on a platform that pads them to one length: rows of very different lengths take turns.

A turn of everybody is split into steps so that their cost together is least; a step costs its fixed part and its rows × its longest
context, both padded to their buckets, and keeps to the platform's budget. Only such platforms pay for this room.

Legend: N rows, S slots.
"""

from __future__ import annotations

import numpy as np

from vllm.messages import BoolArray, Int32Array, Int64Array
from vllm.platforms.constraints import SchedulingConstraints

__all__ = ["DecodeGroups", "cheapest_steps"]

_MOST_KEPT = 256


class DecodeGroups:
    """Everybody who is due gets one step before anybody gets a second; who has waited longest is in the next."""

    def __init__(self, constraints: SchedulingConstraints, block_size: int, num_slots: int) -> None:
        self._constraints = constraints
        self._block_size = block_size
        self._due_S: BoolArray = np.zeros(num_slots, np.bool_)
        self._kept: dict[bytes, list[int]] = {}

    def choose(self, slots_N: Int32Array, context_N: Int32Array) -> Int32Array:
        """Of the rows that can decode, oldest first, those of the next step, in the same order; `context_N` counts the step's token."""
        if not len(slots_N):
            return slots_N
        if not self._due_S[slots_N].any():
            self._due_S[slots_N] = True
        due_N = self._due_S[slots_N]
        due_slots_N = slots_N[due_N]
        padded_N = self._padded(context_N[due_N])
        order_N = np.argsort(padded_N, kind="stable")
        sizes = self._sizes(padded_N[order_N])
        if len(sizes) == 1:
            return due_slots_N
        ends = np.cumsum(sizes)
        oldest = int(np.flatnonzero(order_N == 0)[0])
        step = int(np.searchsorted(ends, oldest, side="right"))
        return due_slots_N[np.sort(order_N[ends[step] - sizes[step] : ends[step]])]

    def took(self, slots_N: Int32Array) -> None:
        """These rows have had their turn."""
        self._due_S[slots_N] = False

    def _padded(self, context_N: Int32Array) -> Int64Array:
        """Each row's context as a step of its own would pad it."""
        blocks_N = -(-context_N.astype(np.int64) // self._block_size) * self._block_size
        buckets = self._constraints.context_buckets
        if not buckets:
            return blocks_N
        padded_N: Int64Array = np.array(buckets, np.int64)[np.searchsorted(buckets, blocks_N)]
        return padded_N

    def _sizes(self, padded_N: Int64Array) -> list[int]:
        """`cheapest_steps`, remembered: contexts change their bucket rarely."""
        key = padded_N.tobytes()
        if key not in self._kept:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[key] = cheapest_steps(padded_N, self._constraints)
        return self._kept[key]


def cheapest_steps(context_N: Int64Array, constraints: SchedulingConstraints) -> list[int]:
    """How many rows each step takes, of rows in ascending order of padded context, so that all steps together cost least.

    Neighbours in this order are best put together: of all ways to fill steps of given sizes, filling them in order gives each the
    shortest longest context. Ties go to fewer steps.
    """
    rows = len(context_N)
    fixed = constraints.decode_step_cost_tokens or 0
    padded_rows_N = np.array([constraints.bucket_rows(count) for count in range(1, rows + 1)], np.int64)
    cost = np.zeros(rows + 1, np.int64)
    """Of the first so many rows."""
    taken = np.zeros(rows + 1, np.int64)
    """Rows of the last step among them."""
    for end in range(1, rows + 1):
        longest = int(context_N[end - 1])
        most = constraints.most_rows(longest, end)
        costs = cost[end - most : end][::-1] + fixed + padded_rows_N[:most] * longest
        taken[end] = most - int(np.argmin(costs[::-1]))
        cost[end] = costs[taken[end] - 1]
    sizes = []
    while rows:
        sizes.append(int(taken[rows]))
        rows -= sizes[-1]
    return sizes[::-1]
