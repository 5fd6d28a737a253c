"""Owns repetition detection: whether an output ends in one pattern of tokens, over and over."""

from __future__ import annotations

from vllm.messages import Int32Array
from vllm.sampling_params import RepetitionDetectionParams

__all__ = ["ends_in_repetition"]


def ends_in_repetition(output_token_ids: Int32Array, params: RepetitionDetectionParams) -> bool:
    """Whether the last tokens are a pattern of an asked-for size, `min_count` times in a row."""
    longest = min(params.max_pattern_size, len(output_token_ids) // params.min_count)
    return any(
        _repeats(output_token_ids[-size * params.min_count :], size)
        for size in range(params.min_pattern_size, longest + 1)
    )


def _repeats(token_ids: Int32Array, size: int) -> bool:
    """Whether the tokens have period `size`: equal to themselves, shifted by it."""
    return bool((token_ids[size:] == token_ids[:-size]).all())
