"""The core's small ops with C++ kernels: norm, rotation, gated activation, greedy sampling. In plain torch each is two to eight calls.

Inside `torch.compile`, and for what the kernels do not cover, each is the core's definition. Legend: `…H` any leading dimensions, T tokens,
D head size, R rotating dimensions, `…I` any leading dimensions and the inner size, N rows, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vllm.model_executor.ops.activation import SiluAndMul
from vllm.model_executor.ops.norm import RMSNorm
from vllm.model_executor.ops.rotary import RotaryEmbedding
from vllm.sampling.sampler import Sampler
from vllm.sampling.step import SamplerOutput
from vllm_cpu_ref.native.library import TYPES, kernels

if TYPE_CHECKING:
    from vllm.sampling.rows import SamplingRows
    from vllm.sampling.step import SamplingStep

__all__ = ["NativeRMSNorm", "NativeRotaryEmbedding", "NativeSampler", "NativeSiluAndMul"]


class NativeRMSNorm(RMSNorm):
    """One pass, with the residual's addition."""

    def __init__(self, size: int, eps: float, *, dtype: torch.dtype, device: torch.device) -> None:
        super().__init__(size, eps, dtype=dtype, device=device)
        self.kernels = kernels()

    def forward(
        self, x_H: torch.Tensor, residual_H: torch.Tensor | None = None
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        module, weight_H = self.kernels, self.weight
        others = (weight_H,) if residual_H is None else (weight_H, residual_H)
        fits = x_H.shape[-1:] == weight_H.shape and (residual_H is None or residual_H.shape == x_H.shape)
        if module is None or torch.compiler.is_compiling() or not fits or not _usable(x_H, *others):
            return self.forward_native(x_H, residual_H)
        x_H = x_H.contiguous()
        out_H = torch.empty_like(x_H)
        size = x_H.shape[-1]
        num_rows = x_H.numel() // size
        if residual_H is None:
            module.rms_norm(
                TYPES[x_H.dtype], out_H.data_ptr(), 0, x_H.data_ptr(), 0, weight_H.data_ptr(), num_rows, size, self.eps
            )
            return out_H
        residual_H = residual_H.contiguous()
        sum_H = torch.empty_like(x_H)
        module.rms_norm(
            TYPES[x_H.dtype], out_H.data_ptr(), sum_H.data_ptr(), x_H.data_ptr(), residual_H.data_ptr(),
            weight_H.data_ptr(), num_rows, size, self.eps,
        )  # fmt: skip
        return out_H, sum_H


class NativeRotaryEmbedding(RotaryEmbedding):
    """Pairs (i, i + F) only; interleaved ones stay with torch."""

    def __init__(self, *, interleaved: bool = False) -> None:
        super().__init__(interleaved=interleaved)
        self.kernels = None if interleaved else kernels()

    def forward(self, x_THD: torch.Tensor, cos_TR: torch.Tensor, sin_TR: torch.Tensor) -> torch.Tensor:
        module = self.kernels
        dense = x_THD.stride(-1) == cos_TR.stride(-1) == sin_TR.stride(-1) == 1 and cos_TR.stride() == sin_TR.stride()
        fits = dense and cos_TR.shape == sin_TR.shape and len(cos_TR) == len(x_THD)
        if module is None or torch.compiler.is_compiling() or not fits or not _usable(x_THD, cos_TR, sin_TR):
            return self.forward_native(x_THD, cos_TR, sin_TR)
        out_THD = torch.empty(x_THD.shape, dtype=x_THD.dtype)
        module.rotary(
            TYPES[x_THD.dtype], out_THD.data_ptr(), x_THD.data_ptr(), x_THD.stride(0), x_THD.stride(1),
            cos_TR.data_ptr(), sin_TR.data_ptr(), cos_TR.stride(0), *x_THD.shape, cos_TR.shape[-1],
        )  # fmt: skip
        return out_THD


class NativeSiluAndMul(SiluAndMul):
    """One pass; torch's two calls write the gate and read it again."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels = kernels()

    def forward(self, gate_up_2I: torch.Tensor) -> torch.Tensor:
        module = self.kernels
        if module is None or torch.compiler.is_compiling() or gate_up_2I.shape[-1] % 2 or not _usable(gate_up_2I):
            return self.forward_native(gate_up_2I)
        gate_up_2I = gate_up_2I if gate_up_2I.dim() == 2 and gate_up_2I.stride(1) == 1 else gate_up_2I.contiguous()
        *leading, both = gate_up_2I.shape
        size = both // 2
        distance = gate_up_2I.stride(0) if len(leading) == 1 else both
        out_I = torch.empty((*leading, size), dtype=gate_up_2I.dtype)
        module.silu_and_mul(
            TYPES[out_I.dtype], out_I.data_ptr(), gate_up_2I.data_ptr(), distance, out_I.numel() // size, size
        )
        return out_I


class NativeSampler(Sampler):
    """Steps in which every row wants the most likely token, and nothing else."""

    def __init__(self, logprobs_mode: str = "raw_logprobs") -> None:
        super().__init__(logprobs_mode)
        self.kernels = kernels()

    def forward(self, logits_NV: torch.Tensor, rows: SamplingRows, step: SamplingStep) -> SamplerOutput:
        module = self.kernels
        is_plain = rows.is_plain_greedy and step.grammar is None and module is not None
        if not is_plain or logits_NV.stride(-1) != 1 or not _usable(logits_NV):
            return self.forward_native(logits_NV, rows, step)
        tokens_N = torch.empty(len(logits_NV), dtype=torch.int64)
        module.most_likely(  # type: ignore[union-attr]
            TYPES[logits_NV.dtype], tokens_N.data_ptr(), logits_NV.data_ptr(), logits_NV.stride(0), *logits_NV.shape
        )
        return SamplerOutput(tokens_N=tokens_N)


def _usable(x: torch.Tensor, *others: torch.Tensor) -> bool:
    """Whether the kernels take these: one dtype that they know, numbers in this machine's memory, something to do."""
    dtype = x.dtype
    return dtype in TYPES and x.is_cpu and x.numel() > 0 and all(each.dtype is dtype for each in others)
