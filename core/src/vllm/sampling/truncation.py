"""Owns min_p, top_k and top_p: which tokens stay candidates. All by a threshold on the logit, so that equal logits share their fate
(which token of a tie comes first in a sort depends on the batch; a threshold does not).

Legend: R rows, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

__all__ = ["Truncation"]

NO_TOKEN = float("-inf")


@dataclass(frozen=True, kw_only=True, slots=True)
class Truncation:
    """The parameters of R rows as columns; None where no row asks. A row that does not ask holds the neutral value."""

    min_p_R1: torch.Tensor | None
    top_k_R1: torch.Tensor | None
    """int64, 1 … V; V = off."""
    max_top_k: int
    """Largest top_k of the rows."""
    top_p_R1: torch.Tensor | None

    def apply(self, logits_RV: torch.Tensor) -> torch.Tensor:
        """Logits (float32, temperature applied) with -inf for tokens that are out; at least the best one stays."""
        if self.min_p_R1 is not None:
            floor_R1 = logits_RV.amax(-1, keepdim=True) + self.min_p_R1.log()
            logits_RV = logits_RV.masked_fill(logits_RV < floor_R1, NO_TOKEN)
        if self.top_k_R1 is None and self.top_p_R1 is None:
            return logits_RV
        best_RK = self._best_first(logits_RV)
        floor_R1 = self._floor(best_RK)
        return logits_RV.masked_fill(logits_RV < floor_R1, NO_TOKEN)

    def _best_first(self, logits_RV: torch.Tensor) -> torch.Tensor:
        """The largest logits in descending order: only as many as top_k lets through, if every row has one."""
        if self.top_k_R1 is None or self.max_top_k >= logits_RV.shape[1]:
            return logits_RV.sort(-1, descending=True).values
        return logits_RV.topk(self.max_top_k, dim=-1).values

    def _floor(self, best_RK: torch.Tensor) -> torch.Tensor:
        """The smallest logit that stays, [R, 1]."""
        floor_R1 = best_RK[:, -1:]
        if self.top_k_R1 is not None:
            floor_R1 = best_RK.gather(1, self.top_k_R1 - 1)
        if self.top_p_R1 is None:
            return floor_R1
        # Ties at the k-th place stay candidates, but the nucleus is counted over the k best alone.
        probs_RK = best_RK.masked_fill(best_RK < floor_R1, NO_TOKEN).softmax(-1)
        before_RK = probs_RK.cumsum(-1) - probs_RK
        kept_R1 = (before_RK < self.top_p_R1).sum(-1, keepdim=True).clamp(min=1)
        return torch.maximum(floor_R1, best_RK.gather(1, kept_R1 - 1))
