"""Owns ops with one fault each.

Legend: T tokens, H hidden size, I inputs or intermediate size, O outputs, D head size, P positions, F frequencies, R = 2 F, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from vllm.model_executor.ops import (
    GeluAndMul,
    GeluTanhAndMul,
    GemmaRMSNorm,
    Linear,
    RMSNorm,
    RotaryEmbedding,
    SiluAndMul,
    VocabEmbedding,
)

Pair = tuple[torch.Tensor, torch.Tensor]


class OnePositionLate(RotaryEmbedding):
    def lay_out(self, cos_PF: torch.Tensor, sin_PF: torch.Tensor) -> Pair:
        return super().lay_out(cos_PF.roll(1, 0), sin_PF.roll(1, 0))


class OtherPairs(RotaryEmbedding):
    def __init__(self, *, interleaved: bool = False) -> None:
        super().__init__(interleaved=not interleaved)


class LosesTheRest(RotaryEmbedding):
    def forward(self, x_THD: torch.Tensor, cos_TR: torch.Tensor, sin_TR: torch.Tensor) -> torch.Tensor:
        turned_THD = self.forward_native(x_THD, cos_TR, sin_TR)
        turned_THD[..., cos_TR.shape[-1] :] = 0
        return turned_THD


class FixedEps(RMSNorm):
    def __init__(self, size: int, eps: float, **options: Any) -> None:
        super().__init__(size, 1e-6, **options)


class KeepsOldResidual(RMSNorm):
    def forward(self, x_H: torch.Tensor, residual_H: torch.Tensor | None = None) -> Any:
        result = self.forward_native(x_H, residual_H)
        return result if residual_H is None else (result[0], residual_H.clone())


class NormsWithoutResidual(GemmaRMSNorm):
    def forward(self, x_H: torch.Tensor, residual_H: torch.Tensor | None = None) -> Any:
        normed_H = self.forward_native(x_H)
        return normed_H if residual_H is None else (normed_H, x_H + residual_H)


class AddsInPlace(RMSNorm):
    def forward(self, x_H: torch.Tensor, residual_H: torch.Tensor | None = None) -> Any:
        return (
            self.forward_native(x_H) if residual_H is None else (self.forward_native(residual_H.add_(x_H)), residual_H)
        )


class PlainWeight(GemmaRMSNorm):
    def _norm(self, x_H: torch.Tensor) -> torch.Tensor:
        return RMSNorm._norm(self, x_H)


class OtherHalf(SiluAndMul):
    def forward(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        up_TI, gate_TI = gate_up_T2I.chunk(2, dim=-1)
        return functional.silu(gate_TI) * up_TI


class OverwritesItsInput(SiluAndMul):
    def forward(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        gate_TI, _ = gate_up_T2I.chunk(2, dim=-1)
        return gate_TI.copy_(self.forward_native(gate_up_T2I))


class GeluByTanh(GeluAndMul):
    def forward(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        gate_TI, up_TI = gate_up_T2I.chunk(2, dim=-1)
        return functional.gelu(gate_TI, approximate="tanh") * up_TI


class GeluExact(GeluTanhAndMul):
    def forward(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        gate_TI, up_TI = gate_up_T2I.chunk(2, dim=-1)
        return functional.gelu(gate_TI) * up_TI


class NoBias(Linear):
    def forward(self, x_TI: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        del bias_O
        return self.forward_native(x_TI, weight_OI, None)


class SixteenBitSums(Linear):
    def forward(self, x_TI: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        product_TO = self.forward_native(x_TI.bfloat16(), weight_OI.bfloat16(), None).to(x_TI)
        return product_TO if bias_O is None else product_TO + bias_O


class NextRow(VocabEmbedding):
    def forward(self, ids_T: torch.Tensor, weight_VH: torch.Tensor) -> torch.Tensor:
        return self.forward_native(ids_T, weight_VH.roll(1, 0))


class NearestRow(VocabEmbedding):
    def forward(self, ids_T: torch.Tensor, weight_VH: torch.Tensor) -> torch.Tensor:
        return functional.embedding((ids_T - self.first_id).clamp(0, self.num_ids - 1), weight_VH)


class OwnOracle(SiluAndMul):
    def forward_native(self, gate_up_T2I: torch.Tensor) -> torch.Tensor:
        up_TI, gate_TI = gate_up_T2I.chunk(2, dim=-1)
        return functional.silu(gate_TI) * up_TI
