"""Owns the op "rotary_embedding": turning queries or keys by given angles (Su et al. 2021, arXiv:2104.09864).

Legend: T tokens, H heads, D head size, R rotating dimensions (the first R of D).
"""

from __future__ import annotations

import torch

from vllm.model_executor.custom_op import CustomOp, native_op

__all__ = ["RotaryEmbedding"]


@native_op("rotary_embedding")
class RotaryEmbedding(CustomOp):
    """Turns the pairs of the first R dimensions of every head.

    Pairs are (i, i + R/2), the NeoX layout; with `interleaved` they are (2i, 2i + 1), the GPT-J layout. The cosines and sines stand
    at both dimensions of their pair, in the same layout.
    """

    def __init__(self, *, interleaved: bool = False) -> None:
        super().__init__()
        self.interleaved = interleaved

    def forward_native(self, x_THD: torch.Tensor, cos_TR: torch.Tensor, sin_TR: torch.Tensor) -> torch.Tensor:
        """A new tensor; `x_THD` may be a strided view and is not changed."""
        rotary_dim = cos_TR.shape[-1]
        cos_T1R, sin_T1R = cos_TR.unsqueeze(1), sin_TR.unsqueeze(1)
        x_THR = x_THD[..., :rotary_dim]
        turned_THR = x_THR * cos_T1R + self._quarter_turn(x_THR) * sin_T1R
        if rotary_dim == x_THD.shape[-1]:
            return turned_THR
        return torch.cat((turned_THR, x_THD[..., rotary_dim:]), dim=-1)

    def _quarter_turn(self, x_THR: torch.Tensor) -> torch.Tensor:
        """Each pair (a, b) becomes (-b, a)."""
        if self.interleaved:
            return torch.stack((-x_THR[..., 1::2], x_THR[..., 0::2]), dim=-1).flatten(-2)
        first, second = x_THR.chunk(2, dim=-1)
        return torch.cat((-second, first), dim=-1)
