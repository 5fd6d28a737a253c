"""Owns what stands after attention in a decoder layer: a gated MLP, or a mixture of many small ones.

Legend: T tokens, X hidden size, E experts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from vllm.model_executor.layers.fused_moe import FusedMoE
from vllm.model_executor.layers.linear import (
    MergedColumnParallelLinear,
    ReplicatedLinear,
    RowParallelLinear,
)
from vllm.model_executor.models.spec import DecoderSpec, ExpertsSpec

if TYPE_CHECKING:
    from vllm.model_executor.context import ModelContext

__all__ = ["GatedMLP", "MixtureOfExperts"]


class GatedMLP(nn.Module):
    """down(act(gate(x)) × up(x)), gate and up as one matrix."""

    def __init__(self, ctx: ModelContext, spec: DecoderSpec, name: str, *, reduce_results: bool = True) -> None:
        """Args: reduce_results: False leaves each rank with its part of the sum."""
        super().__init__()
        inner = spec.intermediate_size
        parts = {"gate": inner, "up": inner}
        self.gate_up_proj = MergedColumnParallelLinear(
            ctx, f"{name}.gate_up_proj", spec.hidden_size, parts, bias=spec.mlp_bias
        )
        self.down_proj = RowParallelLinear(
            ctx, f"{name}.down_proj", inner, spec.hidden_size, bias=spec.mlp_bias, reduce_results=reduce_results
        )
        self.activation = ctx.ops.create(spec.activation_op)

    def forward(self, hidden_TX: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.activation(self.gate_up_proj(hidden_TX)))


class MixtureOfExperts(nn.Module):
    """A router, the experts, and where the family has it an MLP that every token takes. One sum over the ranks for all."""

    def __init__(self, ctx: ModelContext, spec: DecoderSpec, experts: ExpertsSpec, name: str) -> None:
        super().__init__()
        self.tp = ctx.tp
        self.gate = ReplicatedLinear(ctx, spec.hidden_size, experts.routing.num_experts)
        self.experts = FusedMoE(
            ctx, f"{name}.experts", experts.routing, hidden_size=spec.hidden_size,
            intermediate_size=experts.intermediate_size, activation_op=spec.activation_op,
        )  # fmt: skip
        self.shared_expert: GatedMLP | None = None
        if experts.shared_intermediate_size is not None:
            shared_spec = replace(spec, intermediate_size=experts.shared_intermediate_size)
            self.shared_expert = GatedMLP(ctx, shared_spec, f"{name}.shared_expert", reduce_results=False)
            self.shared_expert_gate = ReplicatedLinear(ctx, spec.hidden_size, 1)

    def forward(self, hidden_TX: torch.Tensor) -> torch.Tensor:
        out_TX = self.experts(hidden_TX, self.gate(hidden_TX))
        if self.shared_expert is not None:
            share_T1 = torch.sigmoid(self.shared_expert_gate(hidden_TX))
            out_TX = out_TX + share_T1 * self.shared_expert(hidden_TX)
        return self.tp.all_reduce(out_TX)
