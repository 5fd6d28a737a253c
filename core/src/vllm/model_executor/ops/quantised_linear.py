"""Owns the linear maps of 8-bit weights: with activations quantised token by token as they come, and with activations as they are.

Legend: `…I` any leading dimensions and the inputs of this rank, T the tokens in those dimensions, O outputs of this rank.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from vllm.model_executor.custom_op import CustomOp, native_op

__all__ = ["LARGEST_INT8", "Int8Linear", "W8A8Int8Linear", "W8A16Int8Linear"]

LARGEST_INT8 = 127
"""Symmetric: -128 is never used, so that a value and its negative quantise alike."""
_ZERO_BELOW = 1e-20
"""A token whose largest input is smaller than this counts as zeros, which no scale could map to integers."""
_EXACT_INPUTS = 1024
"""So many products of two 8-bit numbers sum up below 2²⁴, where fp32 holds every whole number: any order gives the same."""


class Int8Linear(CustomOp):
    """What both maps share: how the weights come from the checkpoint."""

    def lay_out(self, weight_OI: torch.Tensor, scale_O: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(weight, scale) as `forward` wants them, made once per layer after loading. A replacement may pack them its own way.

        Args:
            weight_OI: int8, contiguous, on the device; this rank's rows and columns, fused parts one below the other.
            scale_O: fp32, contiguous: the weight that is meant is weight_OI × scale_O[:, None].
        """
        return weight_OI, scale_O


@native_op("w8a8_int8_linear")
class W8A8Int8Linear(Int8Linear):
    """x · (weight × scale)ᵀ + bias in 8-bit integers: "W8A8", per-channel weights, activations quantised per token on the fly.

    For each token t: step_t = max|x_t| / 127 in fp32, q_t = x_t / step_t rounded half to even, so -127 … 127. Then
    out[t, o] = (Σ_i q[t, i] × weight[o, i]) × scale[o] × step_t + bias[o], where the sum is exact as in int32, the rest is fp32, and only
    the result is rounded to the dtype of x. A token of zeros gives the bias. Infinite or undefined inputs give undefined outputs.
    """

    def forward_native(
        self, x_I: torch.Tensor, weight_OI: torch.Tensor, scale_O: torch.Tensor, bias_O: torch.Tensor | None
    ) -> torch.Tensor:
        """[…, O] in the dtype of `x_I`.

        Args:
            x_I: […, I] in 16 or 32 bits, maybe no tokens at all; not changed.
            weight_OI: int8 [O, I]; with `scale_O` what `lay_out` gave.
            scale_O: fp32 [O].
            bias_O: [O] in the dtype of x, or None.
        """
        wide_I = x_I.float()
        largest_1 = wide_I.abs().amax(-1, keepdim=True)
        step_1 = largest_1.clamp(min=_ZERO_BELOW) / LARGEST_INT8
        out_O = _whole_number_product(torch.round(wide_I / step_1), weight_OI) * scale_O * step_1
        return (out_O if bias_O is None else out_O + bias_O).to(x_I.dtype)


@native_op("w8a16_int8_linear")
class W8A16Int8Linear(Int8Linear):
    """x · (weight × scale)ᵀ + bias with 8-bit weights alone: they are widened to the dtype of x, which stays as it is."""

    def forward_native(
        self, x_I: torch.Tensor, weight_OI: torch.Tensor, scale_O: torch.Tensor, bias_O: torch.Tensor | None
    ) -> torch.Tensor:
        """[…, O] in the dtype of `x_I`; arguments as of `w8a8_int8_linear`."""
        wide_OI = (weight_OI * scale_O.unsqueeze(-1)).to(x_I.dtype)
        return functional.linear(x_I, wide_OI, bias_O)


def _whole_number_product(q_I: torch.Tensor, weight_OI: torch.Tensor) -> torch.Tensor:
    """q · weightᵀ of whole numbers up to 127, in fp32: exact stretch by stretch, their sums as exact as fp32 holds them."""
    out_O = q_I.new_zeros(*q_I.shape[:-1], weight_OI.shape[0])
    stretches = zip(q_I.split(_EXACT_INPUTS, -1), weight_OI.split(_EXACT_INPUTS, -1), strict=True)
    for part_I, part_OI in stretches:
        out_O = out_O + functional.linear(part_I, part_OI.float())
    return out_O
