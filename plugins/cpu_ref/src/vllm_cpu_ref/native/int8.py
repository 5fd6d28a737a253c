"""The one op that torch has a much faster kernel for on a CPU than the core's plain torch: 8-bit integers times 8-bit integers.

Legend: `…I` any leading dimensions and the inputs, R rows (tokens), O outputs.
"""

from __future__ import annotations

import functools

import torch

from vllm.model_executor.ops.quantised_linear import LARGEST_INT8, W8A8Int8Linear

__all__ = ["CpuW8A8Int8Linear"]


class CpuW8A8Int8Linear(W8A8Int8Linear):
    """Sums into int32 where torch's kernel is exact, at a half to a third of what bfloat16 costs; elsewhere as the core defines it."""

    def __init__(self) -> None:
        super().__init__()
        self.has_kernel = multiplies_exactly()

    def forward(
        self, x_I: torch.Tensor, weight_OI: torch.Tensor, scale_O: torch.Tensor, bias_O: torch.Tensor | None
    ) -> torch.Tensor:
        if not self.has_kernel or not x_I.numel():
            return self.forward_native(x_I, weight_OI, scale_O, bias_O)
        wide_RI = x_I.flatten(0, -2).float()
        step_R1 = wide_RI.abs().amax(-1, keepdim=True).clamp(min=1e-20) / LARGEST_INT8
        sum_RO = torch._int_mm(torch.round(wide_RI / step_R1).to(torch.int8), weight_OI.t())
        out_RO = sum_RO.float().mul_(scale_O).mul_(step_R1)
        out_RO = out_RO if bias_O is None else out_RO.add_(bias_O)
        return out_RO.to(x_I.dtype).view(*x_I.shape[:-1], -1)


@functools.cache
def multiplies_exactly() -> bool:
    """Whether the kernel holds the largest sums: on CPUs without instructions for it some kernels add pairs in 16 bits, and saturate."""
    row_RI = torch.tensor([[LARGEST_INT8], [-LARGEST_INT8]], dtype=torch.int8).expand(2, 128).contiguous()
    return torch.equal(torch._int_mm(row_RI, row_RI.t()).float(), row_RI.float() @ row_RI.float().t())
