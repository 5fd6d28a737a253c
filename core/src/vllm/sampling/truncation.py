"""Owns min_p, top_k and top_p: which tokens stay candidates. All by a threshold on the logit, so that equal logits share their fate
(which token of a tie comes first in a sort depends on the batch; a threshold does not).

Legend: R rows, V vocabulary, K most likely tokens, best first.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

__all__ = ["TOP_P_OFF", "Truncation"]

NO_TOKEN = float("-inf")
TOP_P_OFF = 2.0
"""Above 1 with room for the rounding of a cumulative sum."""
HEAD_TOKENS = 1024
"""A nucleus is looked for among so many tokens first: sorting a large vocabulary costs more than a model's layer."""
SMALL_VOCABULARY = 16 * HEAD_TOKENS
"""Up to here sorting everything is as fast."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Truncation:
    """The parameters of R rows as columns; None where no row asks. A row that does not ask holds the neutral value."""

    min_p_R1: torch.Tensor | None
    top_k_R1: torch.Tensor | None
    """int64, 1 … V; V = off."""
    max_top_k: int
    """Largest top_k of the rows, those that are off included."""
    top_p_R1: torch.Tensor | None
    """TOP_P_OFF = off."""

    def apply(self, logits_RV: torch.Tensor) -> torch.Tensor:
        """Logits (float32, temperature applied) with -inf for tokens that are out; at least the best one stays."""
        if self.min_p_R1 is not None:
            logits_RV = _keep(logits_RV, logits_RV.amax(-1, keepdim=True) + self.min_p_R1.log())
        best_RK = None
        if self.top_k_R1 is not None:
            best_RK = _best_first(logits_RV, self.max_top_k)
            floor_R1 = best_RK.gather(1, self.top_k_R1 - 1)
            logits_RV, best_RK = _keep(logits_RV, floor_R1), _keep(best_RK, floor_R1)
        if self.top_p_R1 is not None:
            logits_RV = _keep(logits_RV, _nucleus_floor(logits_RV, self.top_p_R1, best_RK))
        return logits_RV


def _keep(logits_RX: torch.Tensor, floor_R1: torch.Tensor) -> torch.Tensor:
    return logits_RX.masked_fill(logits_RX < floor_R1, NO_TOKEN)


def _nucleus_floor(logits_RV: torch.Tensor, top_p_R1: torch.Tensor, best_RK: torch.Tensor | None) -> torch.Tensor:
    """Smallest logit of the smallest set of most likely tokens that reaches top_p. `best_RK`: all candidates, if known already."""
    vocab_size = logits_RV.shape[1]
    log_total_R1 = logits_RV.logsumexp(-1, keepdim=True)
    if best_RK is None and vocab_size > SMALL_VOCABULARY:
        head_RK = logits_RV.topk(HEAD_TOKENS, dim=-1).values
        reached_R1 = (head_RK - log_total_R1).exp().sum(-1, keepdim=True)
        if bool(((reached_R1 >= top_p_R1) | (top_p_R1 == TOP_P_OFF)).all()):
            best_RK = head_RK
    if best_RK is None:
        best_RK = _best_first(logits_RV, vocab_size)
    probs_RK = (best_RK - log_total_R1).exp()
    before_RK = probs_RK.cumsum(-1) - probs_RK
    kept_R1 = (before_RK < top_p_R1).sum(-1, keepdim=True).clamp(min=1)
    floor_R1 = best_RK.gather(1, kept_R1 - 1)
    return floor_R1.masked_fill(top_p_R1 == TOP_P_OFF, NO_TOKEN)


def _best_first(logits_RV: torch.Tensor, count: int) -> torch.Tensor:
    """The `count` largest logits in descending order. numpy sorts a whole row several times faster than torch on the host."""
    if count < logits_RV.shape[1]:
        return logits_RV.topk(count, dim=-1).values
    if logits_RV.device.type == "cpu":
        return torch.from_numpy(np.sort(logits_RV.numpy(), axis=-1)).flip(-1)
    return logits_RV.sort(-1, descending=True).values
