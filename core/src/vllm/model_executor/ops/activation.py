"""Owns the gated activations: act(gate) × up of one fused tensor. Legend: T tokens, I intermediate size on this rank."""

from __future__ import annotations

import torch
from torch.nn import functional

from vllm.model_executor.custom_op import CustomOp, native_op

__all__ = ["GeluAndMul", "GeluTanhAndMul", "SiluAndMul"]


@native_op("silu_and_mul")
class SiluAndMul(CustomOp):
    """SwiGLU without its matrices (Shazeer 2020, arXiv:2002.05202)."""

    def forward_native(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        gate_TI, up_TI = gate_up_T2I.chunk(2, dim=-1)
        return functional.silu(gate_TI).mul_(up_TI)


@native_op("gelu_and_mul")
class GeluAndMul(CustomOp):
    """GeGLU with the exact GELU."""

    def forward_native(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        gate_TI, up_TI = gate_up_T2I.chunk(2, dim=-1)
        return functional.gelu(gate_TI).mul_(up_TI)


@native_op("gelu_tanh_and_mul")
class GeluTanhAndMul(CustomOp):
    """GeGLU with the tanh approximation of GELU."""

    def forward_native(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        gate_TI, up_TI = gate_up_T2I.chunk(2, dim=-1)
        return functional.gelu(gate_TI, approximate="tanh").mul_(up_TI)
