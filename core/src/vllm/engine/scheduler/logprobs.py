"""Owns the handling of sampled log-probabilities on their way from a step's output to the front: selecting and joining rows.

Legend: R rows of log-probabilities, K columns kept per row, M tokens of a step.
"""

from __future__ import annotations

import numpy as np

from vllm.messages import BoolArray, Int32Array, Int64Array, SampledLogprobs

__all__ = ["join", "kept", "of_row"]


def kept(logprobs: SampledLogprobs | None, kept_M: BoolArray) -> SampledLogprobs | None:
    """The rows of the tokens where `kept_M` is True, renumbered to these tokens; None if there are none."""
    if logprobs is None:
        return None
    rows = np.nonzero(kept_M[logprobs.rows_R])[0]
    if not len(rows):
        return None
    new_index_M = np.cumsum(kept_M) - 1
    return _rows(logprobs, rows, new_index_M[logprobs.rows_R[rows]].astype(np.int32))


def of_row(logprobs: SampledLogprobs, row: int, token_index: int) -> SampledLogprobs:
    """One row alone, as the log-probabilities of output token `token_index`."""
    return _rows(logprobs, np.array([row]), np.array([token_index], np.int32))


def join(parts: list[SampledLogprobs]) -> SampledLogprobs:
    """All rows of several stretches, in order; narrow ones are padded to the widest, past their `num_R`."""
    width = max(part.token_ids_RK.shape[1] for part in parts)
    return SampledLogprobs(
        rows_R=np.concatenate([part.rows_R for part in parts]),
        token_ids_RK=np.concatenate([_widened(part.token_ids_RK, width) for part in parts]),
        logprobs_RK=np.concatenate([_widened(part.logprobs_RK, width) for part in parts]),
        sampled_rank_R=np.concatenate([part.sampled_rank_R for part in parts]),
        num_R=np.concatenate([part.num_R for part in parts]),
    )


def _rows(logprobs: SampledLogprobs, rows: Int64Array, new_rows_R: Int32Array) -> SampledLogprobs:
    return SampledLogprobs(
        rows_R=new_rows_R,
        token_ids_RK=logprobs.token_ids_RK[rows],
        logprobs_RK=logprobs.logprobs_RK[rows],
        sampled_rank_R=logprobs.sampled_rank_R[rows],
        num_R=logprobs.num_R[rows],
    )


def _widened(values_RK: np.ndarray, width: int) -> np.ndarray:
    return np.pad(values_RK, ((0, 0), (0, width - values_RK.shape[1])))
