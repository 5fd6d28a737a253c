"""Owns the op "rotary_embedding": turning queries or keys by given angles (Su et al. 2021, arXiv:2104.09864).

Legend: P positions, T tokens, H heads, D head size, F frequencies, R = 2 F rotating dimensions (the first R of D).
"""

from __future__ import annotations

import torch

from vllm.model_executor.custom_op import CustomOp, native_op

__all__ = ["RotaryEmbedding"]


@native_op("rotary_embedding")
class RotaryEmbedding(CustomOp):
    """Turns the pairs of the first R dimensions of every head: (a, b) becomes (a cos - b sin, b cos + a sin).

    Pairs are (i, i + F), the NeoX layout; with `interleaved` they are (2 i, 2 i + 1), the GPT-J layout.
    """

    def __init__(self, *, interleaved: bool = False) -> None:
        super().__init__()
        self.interleaved = interleaved

    def lay_out(self, cos_PF: torch.Tensor, sin_PF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(cos_PR, sin_PR) as `forward` wants them, made once for all positions. A replacement may lay them out its own way.

        Here both stand at each dimension of their pair, and the sine has the sign with which the partner enters.
        """
        if self.interleaved:
            return cos_PF.repeat_interleave(2, dim=-1), torch.stack((-sin_PF, sin_PF), dim=-1).flatten(-2)
        return torch.cat((cos_PF, cos_PF), dim=-1), torch.cat((-sin_PF, sin_PF), dim=-1)

    def forward_native(self, x_THD: torch.Tensor, cos_TR: torch.Tensor, sin_TR: torch.Tensor) -> torch.Tensor:
        """A new tensor; `x_THD` may be a strided view and is not changed. `cos_TR` and `sin_TR` are rows of what `lay_out` gave."""
        rotary_dim = cos_TR.shape[-1]
        x_THR = x_THD[..., :rotary_dim]
        turned_THR = torch.addcmul(x_THR * cos_TR.unsqueeze(1), self._partners(x_THR), sin_TR.unsqueeze(1))
        if rotary_dim == x_THD.shape[-1]:
            return turned_THR
        return torch.cat((turned_THR, x_THD[..., rotary_dim:]), dim=-1)

    def _partners(self, x_THR: torch.Tensor) -> torch.Tensor:
        """Each pair (a, b) becomes (b, a)."""
        if self.interleaved:
            return torch.stack((x_THR[..., 1::2], x_THR[..., 0::2]), dim=-1).flatten(-2)
        first, second = x_THR.chunk(2, dim=-1)
        return torch.cat((second, first), dim=-1)
