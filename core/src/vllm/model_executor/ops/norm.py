"""Owns the root-mean-square norms, alone and with the residual addition before them.

Legend: `…H` any leading dimensions, H normalised size.
"""

from __future__ import annotations

import torch
from torch import nn

from vllm.model_executor.custom_op import CustomOp, native_op

__all__ = ["GemmaRMSNorm", "RMSNorm"]


@native_op("rms_norm")
class RMSNorm(CustomOp):
    """x / sqrt(mean(x²) + eps) × weight. The statistics are computed in fp32 (Zhang & Sennrich 2019, arXiv:1910.07467)."""

    def __init__(self, size: int, eps: float, *, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(size, dtype=dtype, device=device), requires_grad=False)

    def forward_native(
        self, x_H: torch.Tensor, residual_H: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """The norm of `x_H`; with a residual `(norm of x + residual, x + residual)`. Arguments are not changed."""
        if residual_H is None:
            return self._norm(x_H)
        sum_H = x_H + residual_H
        return self._norm(sum_H), sum_H

    def _norm(self, x_H: torch.Tensor) -> torch.Tensor:
        wide_H = x_H.float()
        mean_square = (wide_H * wide_H).mean(-1, keepdim=True)
        normed_H = wide_H * mean_square.add_(self.eps).rsqrt_()
        return normed_H.to(x_H.dtype).mul_(self.weight)  # rounded before the weight, as in Transformers


@native_op("gemma_rms_norm")
class GemmaRMSNorm(RMSNorm):
    """RMSNorm that keeps its weight as the distance from one, and rounds after it instead of before (Gemma, arXiv:2403.08295)."""

    def _norm(self, x_H: torch.Tensor) -> torch.Tensor:
        wide_H = x_H.float()
        mean_square = (wide_H * wide_H).mean(-1, keepdim=True)
        normed_H = wide_H * mean_square.add_(self.eps).rsqrt_()
        return normed_H.mul_(1.0 + self.weight.float()).to(x_H.dtype)
