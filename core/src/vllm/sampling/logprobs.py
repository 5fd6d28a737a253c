"""Owns log-probabilities: of sampled tokens and of prompt tokens, with ranks and the most likely alternatives.

Legend: N sampling rows, R rows that want log-probabilities, T prompt tokens, K columns (the chosen token first), V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from vllm.messages import SampledLogprobs

if TYPE_CHECKING:
    from vllm.messages import Float32Array, Int32Array, Int64Array

__all__ = ["LogprobRequest", "chosen_and_best", "score_table"]


def score_table(logits_RV: torch.Tensor, mode: str) -> torch.Tensor:
    """What `logprobs_mode` reports of these logits: themselves, or their logarithmic softmax; float32."""
    logits_RV = logits_RV.to(torch.float32)
    return logits_RV.log_softmax(-1) if mode.endswith("logprobs") else logits_RV


def chosen_and_best(
    scores_RV: torch.Tensor, chosen_R: torch.Tensor, num_best: int
) -> tuple[Int32Array, Float32Array, Int32Array]:
    """(token ids [R, 1 + num_best], scores [R, 1 + num_best], rank [R]); first column: the chosen token, then the best ones."""
    best = scores_RV.topk(num_best, dim=-1) if num_best else None
    chosen_score_R1 = scores_RV.gather(1, chosen_R[:, None])
    rank_R = 1 + (scores_RV > chosen_score_R1).sum(-1)
    ids = [chosen_R[:, None]] + ([best.indices] if best else [])
    scores = [chosen_score_R1] + ([best.values] if best else [])
    return _int32(torch.cat(ids, 1)), torch.cat(scores, 1).cpu().numpy(), _int32(rank_R)


@dataclass(frozen=True, kw_only=True, slots=True)
class LogprobRequest:
    """Which of the sampling rows want log-probabilities, and how many."""

    row_R: Int64Array
    row_index_R: torch.Tensor
    """The same, on the device."""
    num_best_R: Int32Array
    listed_of_row: tuple[tuple[int, ...] | None, ...]
    """By index in row_R: `logprob_token_ids`, which take the place of the best ones."""

    def report(self, scores_RV: torch.Tensor, tokens_N: torch.Tensor) -> SampledLogprobs:
        """The message: the sampled token's score and rank, then as many others as each row asked for."""
        chosen_R = tokens_N[self.row_index_R]
        ids_RK, values_RK, rank_R = chosen_and_best(scores_RV, chosen_R, int(self.num_best_R.max()))
        num_R = 1 + self.num_best_R
        if any(listed is not None for listed in self.listed_of_row):
            ids_RK, values_RK, num_R = self._with_listed(scores_RV, ids_RK, values_RK)
        return SampledLogprobs(
            rows_R=self.row_R.astype(np.int32),
            token_ids_RK=ids_RK,
            logprobs_RK=values_RK,
            sampled_rank_R=rank_R,
            num_R=num_R.astype(np.int32),
        )

    def _with_listed(
        self, scores_RV: torch.Tensor, ids_RK: Int32Array, values_RK: Float32Array
    ) -> tuple[Int32Array, Float32Array, Int32Array]:
        """Rows with listed tokens report those, in the given order, in place of the best ones."""
        num_R = 1 + np.array(
            [n if ids is None else len(ids) for n, ids in zip(self.num_best_R, self.listed_of_row, strict=True)]
        )
        pad = ((0, 0), (0, max(0, int(num_R.max()) - ids_RK.shape[1])))
        ids_RK, values_RK = np.pad(ids_RK, pad), np.pad(values_RK, pad)
        for row, listed in enumerate(self.listed_of_row):
            if listed is not None:
                ids_RK[row, 1 : 1 + len(listed)] = listed
                values_RK[row, 1 : 1 + len(listed)] = scores_RV[row, list(listed)].cpu().numpy()
        return ids_RK, values_RK, num_R.astype(np.int32)


def _int32(tensor: torch.Tensor) -> Int32Array:
    return tensor.to(torch.int32).cpu().numpy()
