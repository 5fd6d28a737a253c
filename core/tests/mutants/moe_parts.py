"""Owns mixtures of experts with one fault each.

Legend: T tokens, E experts, K experts per token, H hidden size, I intermediate size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from vllm.model_executor.ops import FusedExperts
from vllm.model_executor.routing import RouterKind, Routing

Pair = tuple[torch.Tensor, torch.Tensor]


class ForgetsToRenormalise(FusedExperts):
    def __init__(self, routing: Routing, **options: Any) -> None:
        super().__init__(replace(routing, kind=RouterKind.SOFTMAX), **options)


class AlwaysRenormalises(FusedExperts):
    def __init__(self, routing: Routing, **options: Any) -> None:
        super().__init__(replace(routing, kind=RouterKind.RENORMALISED_SOFTMAX), **options)


class SwapsExperts(FusedExperts):
    def lay_out(self, gate_up_E2IH: torch.Tensor, down_EHI: torch.Tensor) -> Pair:
        return gate_up_E2IH, torch.cat((down_EHI[:-2], down_EHI[-2:].flip(0)))


class UpBeforeGate(FusedExperts):
    def lay_out(self, gate_up_E2IH: torch.Tensor, down_EHI: torch.Tensor) -> Pair:
        return torch.cat(gate_up_E2IH.chunk(2, dim=1)[::-1], dim=1), down_EHI


class DropsTheOverflow(FusedExperts):
    def route(self, scores_TE: torch.Tensor) -> Pair:
        shares_TK, experts_TK = super().route(scores_TE)
        ones_TKE = torch.nn.functional.one_hot(experts_TK, self.routing.num_experts)
        place_TK = (ones_TKE.cumsum(0) * ones_TKE).sum(-1)
        return shares_TK.masked_fill(place_TK > 16, 0.0), experts_TK


class WeighsTheInput(FusedExperts):
    def forward(self, x_TH: torch.Tensor, scores_TE: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
        shares_TK, experts_TK = self.route(scores_TE)
        out_TH = torch.zeros_like(x_TH)
        for k in range(self.routing.top_k):
            for token, expert in enumerate(experts_TK[:, k]):
                gate_up_2IH, down_HI = (weight[expert] for weight in weights)
                given_1H = (x_TH[token] * shares_TK[token, k]).to(x_TH.dtype).unsqueeze(0)
                out_TH[token] += (self.activation(given_1H @ gate_up_2IH.T) @ down_HI.T)[0]
        return out_TH
