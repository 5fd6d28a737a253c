"""Owns the op "fused_moe": a mixture of gated experts, from router scores to the weighted sum.

Legend: T tokens, E experts, K experts per token, H hidden size, I intermediate size on this rank, R = T K rows, one per token and expert.
"""

from __future__ import annotations

import torch
from torch.nn import functional

from vllm.model_executor.custom_op import CustomOp, native_op
from vllm.model_executor.ops.activation import GeluAndMul, GeluTanhAndMul, SiluAndMul
from vllm.model_executor.routing import RouterKind, Routing

__all__ = ["FusedExperts"]

_ACTIVATIONS: dict[str, type[CustomOp]] = {op.op_name: op for op in (SiluAndMul, GeluAndMul, GeluTanhAndMul)}


@native_op("fused_moe")
class FusedExperts(CustomOp):
    """Σ over a token's experts e: share_e × down_e(act(gate_e(x)) × up_e(x)) (Shazeer et al. 2017, arXiv:1701.06538).

    Run as it stands, rows are sorted by expert and each expert that has any is one pair of matrix products; the counts come to the host.
    While a compiler traces, shapes may not depend on values: then every expert computes every token, and unchosen ones get a share of zero.
    That is E / K times the work. `torch.nn.functional.grouped_mm` would do with one path, but only on two kinds of device and for row
    lengths of whole 16 bytes, and is no faster than the sorted rows on a CPU. A platform that compiles or records graphs replaces this op.
    """

    def __init__(self, routing: Routing, *, activation_op: str) -> None:
        """Args: activation_op: the name of a gated activation, "silu_and_mul", "gelu_and_mul" or "gelu_tanh_and_mul"."""
        super().__init__()
        self.routing = routing
        self.activation = _ACTIVATIONS[activation_op]()

    def lay_out(self, gate_up_E2IH: torch.Tensor, down_EHI: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The weights as `forward` wants them, made once per layer after loading. A replacement may pack them its own way.

        Args:
            gate_up_E2IH: for each expert the rows of gate, then those of up.
            down_EHI: both contiguous, in the model's dtype, on the device.
        """
        return gate_up_E2IH, down_EHI

    def route(self, scores_TE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(shares_TK in fp32, experts_TK in int64): each token's experts, best first."""
        shares_TK, experts_TK = scores_TE.float().softmax(-1).topk(self.routing.top_k, dim=-1)
        if self.routing.kind is RouterKind.RENORMALISED_SOFTMAX:
            shares_TK = shares_TK / shares_TK.sum(-1, keepdim=True)
        return shares_TK, experts_TK

    def forward_native(
        self, x_TH: torch.Tensor, scores_TE: torch.Tensor, gate_up_E2IH: torch.Tensor, down_EHI: torch.Tensor
    ) -> torch.Tensor:
        """out_TH, new, in the dtype of x; of this rank's part of I, so that the sum over the ranks is the mixture.

        Args:
            x_TH: maybe no tokens at all; not changed.
            scores_TE: the router's outputs before any softmax, in the dtype of x.
            gate_up_E2IH: with `down_EHI` what `lay_out` gave.
        """
        shares_TK, experts_TK = self.route(scores_TE)
        if torch.compiler.is_compiling():
            return self._by_all(x_TH, shares_TK, experts_TK, gate_up_E2IH, down_EHI)
        return self._by_chosen(x_TH, shares_TK, experts_TK, gate_up_E2IH, down_EHI)

    def _by_chosen(
        self,
        x_TH: torch.Tensor,
        shares_TK: torch.Tensor,
        experts_TK: torch.Tensor,
        gate_up_E2IH: torch.Tensor,
        down_EHI: torch.Tensor,
    ) -> torch.Tensor:
        expert_R = experts_TK.flatten()
        order_R = expert_R.argsort(stable=True)
        counts = torch.bincount(expert_R, minlength=self.routing.num_experts).tolist()
        sorted_RH = x_TH[order_R // self.routing.top_k]
        out_RH = torch.empty_like(sorted_RH)
        start = 0
        for expert, count in enumerate(counts):
            if count:
                rows = slice(start, start + count)
                inner_RI = self.activation(functional.linear(sorted_RH[rows], gate_up_E2IH[expert]))
                out_RH[order_R[rows]] = functional.linear(inner_RI, down_EHI[expert])
                start += count
        out_TKH = out_RH.view(*experts_TK.shape, x_TH.shape[-1])
        return (out_TKH.float() * shares_TK.unsqueeze(-1)).sum(1).to(x_TH.dtype)

    def _by_all(
        self,
        x_TH: torch.Tensor,
        shares_TK: torch.Tensor,
        experts_TK: torch.Tensor,
        gate_up_E2IH: torch.Tensor,
        down_EHI: torch.Tensor,
    ) -> torch.Tensor:
        num_experts = self.routing.num_experts
        share_TE = shares_TK.new_zeros(x_TH.shape[0], num_experts).scatter(1, experts_TK, shares_TK)
        x_ETH = x_TH.expand(num_experts, *x_TH.shape)
        inner_ETI = self.activation(torch.bmm(x_ETH, gate_up_E2IH.transpose(1, 2)))
        out_ETH = torch.bmm(inner_ETI, down_EHI.transpose(1, 2))
        return (out_ETH.float() * share_TE.t().unsqueeze(-1)).sum(0).to(x_TH.dtype)
