"""Owns randomness: a draw is a pure function of (seed, position, stage), the same on every platform, alone or in a batch.

No generator objects. The hash is SplitMix64's finaliser (Steele, Lea, Flood: "Fast splittable pseudorandom number generators", OOPSLA
2014), applied twice: once to seed and position, once to that and the stage. numpy on the host: a step needs a few draws per row.

Legend: N rows, L stages.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["uniforms"]

UInt64Array = npt.NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_DROPPED_BITS, _UNIT = np.uint64(41), np.float32(2.0**-23)
"""23 bits remain: such a uniform times any float32 total rounds to less than the total, so a draw never runs past the end."""


def uniforms(seed_N: UInt64Array, position_N: npt.NDArray[np.integer], num_stages: int) -> npt.NDArray[np.float32]:
    """[N, L] uniform numbers in [0, 1), float32 with 23 random bits.

    Args:
        seed_N: the request's seed.
        position_N: index in the sequence of the token to draw, >= 0.
        num_stages: independent draws wanted for the one token.
    """
    position_key_N = _mix(seed_N + _GOLDEN * (position_N.astype(np.uint64) + np.uint64(1)))
    stage_1L = np.arange(1, num_stages + 1, dtype=np.uint64)[None]
    bits_NL = _mix(position_key_N[:, None] + _GOLDEN * stage_1L)
    return (bits_NL >> _DROPPED_BITS).astype(np.float32) * _UNIT


def _mix(word: UInt64Array) -> UInt64Array:
    """A bijection of 64 bits that changes half of the output bits when one input bit changes; wraps around by design."""
    word = (word ^ (word >> np.uint64(30))) * _MIX_1
    word = (word ^ (word >> np.uint64(27))) * _MIX_2
    return word ^ (word >> np.uint64(31))
