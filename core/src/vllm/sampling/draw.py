"""Owns the draw of one token from softmax(logits): inverse CDF in vocabulary order, descending a tree with one uniform per level.

Why a tree: with one uniform over the whole vocabulary, a rounding difference in the logits (a row computed alone or in a batch) moves
each of V boundaries, and the chance that one of them crosses the uniform grows with V. With a fan-out of 64 and an independent uniform per
level only some 64 boundaries per level can matter. The distribution is the same, and sums replace the long cumulative sum.

Legend: R rows, V vocabulary, W nodes of one level, L levels.
"""

from __future__ import annotations

import torch
from torch.nn.functional import pad

__all__ = ["FAN_OUT", "draw_tokens", "num_levels"]

FAN_OUT = 64


def num_levels(vocab_size: int) -> int:
    """Uniforms that `draw_tokens` takes per row."""
    levels, reach = 1, FAN_OUT
    while reach < vocab_size:
        levels, reach = levels + 1, reach * FAN_OUT
    return levels


def draw_tokens(logits_RV: torch.Tensor, uniform_RL: torch.Tensor) -> torch.Tensor:
    """One token per row, int64 [R]; a token of logit -inf is never drawn.

    Args:
        logits_RV: float32, at least one finite value per row.
        uniform_RL: float32 in [0, 1 - 2**-23], `num_levels(V)` columns; the root's comes first.
    """
    levels = [_pad(logits_RV.softmax(-1))]
    for _ in range(uniform_RL.shape[1] - 1):
        levels.append(_pad(levels[-1].unflatten(1, (-1, FAN_OUT)).sum(-1)))
    node_R1 = torch.zeros(len(logits_RV), 1, dtype=torch.int64, device=logits_RV.device)
    for level, weight_RW in enumerate(reversed(levels)):
        children_RF = _children(weight_RW, node_R1)
        node_R1 = node_R1 * FAN_OUT + _pick(children_RF, uniform_RL[:, level : level + 1])
    return node_R1[:, 0]


def _pad(weight_RW: torch.Tensor) -> torch.Tensor:
    """Zeros up to a multiple of the fan-out; they are never picked."""
    missing = -weight_RW.shape[1] % FAN_OUT
    return pad(weight_RW, (0, missing)) if missing else weight_RW


def _children(weight_RW: torch.Tensor, node_R1: torch.Tensor) -> torch.Tensor:
    """[R, FAN_OUT] weights below each row's node."""
    blocks_RBF = weight_RW.unflatten(1, (-1, FAN_OUT))
    index_R1F = node_R1[:, :, None].expand(-1, 1, FAN_OUT)
    return blocks_RBF.gather(1, index_R1F)[:, 0]


def _pick(weight_RF: torch.Tensor, uniform_R1: torch.Tensor) -> torch.Tensor:
    """First child whose cumulative weight exceeds uniform × total, [R, 1]."""
    cumulative_RF = weight_RF.cumsum(-1)
    return (cumulative_RF <= uniform_R1 * cumulative_RF[:, -1:]).sum(-1, keepdim=True)
