"""Owns the linear map of 8-bit integers: activations quantised token by token, both factors multiplied as integers.

Legend: `…I` any leading dimensions and the inputs of this rank, T the tokens in those dimensions, O outputs of this rank.
"""

from __future__ import annotations

import torch
import torch_npu

from vllm.model_executor.ops.quantised_linear import W8A8Int8Linear

__all__ = ["QuantMatmulLinear"]

FRACTAL_NZ = 29
"""CANN's number of the format in which the cube unit reads a matrix: tiles of 16 × 32 bytes instead of rows."""


class QuantMatmulLinear(W8A8Int8Linear):
    """npu_dynamic_quant, then npu_quant_matmul, which scales its sums by token and by output and adds the bias."""

    def lay_out(self, weight_OI: torch.Tensor, scale_O: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The weight transposed, in the format NZ."""
        return torch_npu.npu_format_cast(weight_OI.t().contiguous(), FRACTAL_NZ), scale_O

    def forward(
        self, x_I: torch.Tensor, weight_IO: torch.Tensor, scale_O: torch.Tensor, bias_O: torch.Tensor | None
    ) -> torch.Tensor:
        q_TI, step_T = torch_npu.npu_dynamic_quant(x_I.reshape(-1, x_I.shape[-1]))
        out_TO: torch.Tensor = torch_npu.npu_quant_matmul(
            q_TI, weight_IO, scale_O, pertoken_scale=step_T, bias=bias_O, output_dtype=x_I.dtype
        )
        return out_TO.view(*x_I.shape[:-1], out_TO.shape[-1])
