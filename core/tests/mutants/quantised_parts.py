"""Owns 8-bit linear maps with one fault each. Legend: T tokens, I inputs, O outputs."""

from __future__ import annotations

import torch

from vllm.model_executor.ops import W8A8Int8Linear, W8A16Int8Linear

Pair = tuple[torch.Tensor, torch.Tensor]
Bias = torch.Tensor | None


class ByHand(W8A8Int8Linear):
    """Sound; subclasses get one step of it wrong."""

    def forward(self, x_I: torch.Tensor, weight_OI: torch.Tensor, scale_O: torch.Tensor, bias_O: Bias) -> torch.Tensor:
        step_1 = self.step_of(x_I.float())
        product_O = self.rounded(x_I.float() / step_1).double() @ weight_OI.double().T
        out_O = product_O.float() * scale_O * step_1
        return (out_O if bias_O is None else out_O + bias_O).to(x_I.dtype)

    def step_of(self, x_I: torch.Tensor) -> torch.Tensor:
        return x_I.abs().amax(-1, keepdim=True).clamp(min=1e-20) / 127

    def rounded(self, x_I: torch.Tensor) -> torch.Tensor:
        return x_I.round()


class OneStepForAll(ByHand):
    def step_of(self, x_I: torch.Tensor) -> torch.Tensor:
        return super().step_of(x_I.reshape(1, -1))[0] if x_I.numel() else super().step_of(x_I)


class RoundsDown(ByHand):
    def rounded(self, x_I: torch.Tensor) -> torch.Tensor:
        return x_I.trunc()


class DividesZerosByZero(ByHand):
    def step_of(self, x_I: torch.Tensor) -> torch.Tensor:
        return x_I.abs().amax(-1, keepdim=True) / 127


class FirstPartsScales(ByHand):
    def lay_out(self, weight_OI: torch.Tensor, scale_O: torch.Tensor) -> Pair:
        first_O = scale_O[: len(scale_O) // 2]
        return weight_OI, torch.cat((first_O, first_O, scale_O[2 * len(first_O) :]))


class ForgetsTheBias(W8A8Int8Linear):
    def forward(self, x_I: torch.Tensor, weight_OI: torch.Tensor, scale_O: torch.Tensor, bias_O: Bias) -> torch.Tensor:
        return self.forward_native(x_I, weight_OI, scale_O, None)


class OneScaleForAll(W8A16Int8Linear):
    def lay_out(self, weight_OI: torch.Tensor, scale_O: torch.Tensor) -> Pair:
        return weight_OI, scale_O.mean().expand_as(scale_O)
