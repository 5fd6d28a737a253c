"""Owns the ops that CANN has fused operators for. Each subclasses the native op, which stays the oracle.

Legend: `…H` any leading dimensions and H normalised size, T tokens, I intermediate size, P positions, F frequencies, D head size,
R = 2 F rotating dimensions, the first of D.
"""

from __future__ import annotations

import torch
import torch_npu

from vllm.model_executor.ops.activation import GeluAndMul, GeluTanhAndMul, SiluAndMul
from vllm.model_executor.ops.norm import RMSNorm
from vllm.model_executor.ops.rotary import RotaryEmbedding

__all__ = ["FusedRMSNorm", "FusedRotaryEmbedding", "FusedSiluAndMul", "NamedGeluAndMul", "NamedGeluTanhAndMul"]


class FusedRMSNorm(RMSNorm):
    """npu_rms_norm, and npu_add_rms_norm where there is a residual."""

    def forward(
        self, x_H: torch.Tensor, residual_H: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        if residual_H is None:
            normed_H: torch.Tensor = torch_npu.npu_rms_norm(x_H, self.weight, self.eps)[0]
            return normed_H
        normed_H, _, sum_H = torch_npu.npu_add_rms_norm(x_H, residual_H, self.weight, self.eps)
        return normed_H, sum_H


class FusedSiluAndMul(SiluAndMul):
    """npu_swiglu."""

    def forward(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        out_TI: torch.Tensor = torch_npu.npu_swiglu(gate_up_T2I, -1)
        return out_TI


class NamedGeluAndMul(GeluAndMul):
    """npu_gelu, which takes the form by name: torch's own gelu calls one operator for both forms, and drops which was asked for."""

    def forward(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        return _gelu_and_mul(gate_up_T2I, "none")


class NamedGeluTanhAndMul(GeluTanhAndMul):
    """npu_gelu in its other form."""

    def forward(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        return _gelu_and_mul(gate_up_T2I, "tanh")


def _gelu_and_mul(gate_up_T2I: torch.Tensor, approximate: str) -> torch.Tensor:
    gate_TI, up_TI = gate_up_T2I.chunk(2, dim=-1)
    activated_TI: torch.Tensor = torch_npu.npu_gelu(gate_TI, approximate=approximate)
    return activated_TI.mul_(up_TI)


class FusedRotaryEmbedding(RotaryEmbedding):
    """npu_rotary_mul: x · cos + partners(x) · sin, where the operator itself gives the partners their sign."""

    def lay_out(self, cos_PF: torch.Tensor, sin_PF: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Both stand at each dimension of their pair, without a sign."""
        if self.interleaved:
            return cos_PF.repeat_interleave(2, dim=-1), sin_PF.repeat_interleave(2, dim=-1)
        return torch.cat((cos_PF, cos_PF), dim=-1), torch.cat((sin_PF, sin_PF), dim=-1)

    def forward(self, x_THD: torch.Tensor, cos_TR: torch.Tensor, sin_TR: torch.Tensor) -> torch.Tensor:
        rotary_dim = cos_TR.shape[-1]
        cos_1T1R, sin_1T1R = cos_TR[None, :, None], sin_TR[None, :, None]
        mode = "interleave" if self.interleaved else "half"
        turned_THR: torch.Tensor = torch_npu.npu_rotary_mul(x_THD[None, ..., :rotary_dim], cos_1T1R, sin_1T1R, mode)[0]
        if rotary_dim == x_THD.shape[-1]:
            return turned_THR
        return torch.cat((turned_THR, x_THD[..., rotary_dim:]), dim=-1)
