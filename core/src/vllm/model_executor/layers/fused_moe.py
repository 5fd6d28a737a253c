"""Owns the layer of experts: all in one parameter, each split over the ranks like a gated MLP.

A checkpoint holds each expert's matrices by themselves; the loader copies them straight into their place in the stack.
Legend: T tokens, E experts, H hidden size, I intermediate size on this rank, O outputs of an expert's matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import nn

from vllm.errors import ConfigError
from vllm.model_executor.layers.linear import equal_share
from vllm.model_executor.layers.quantization import UnquantizedLinear, linear_method
from vllm.model_executor.layers.weights import Placement, ShardedModule, Share
from vllm.model_executor.loader.names import expert_part
from vllm.model_executor.routing import Routing

if TYPE_CHECKING:
    from vllm.model_executor.context import ModelContext

__all__ = ["ExpertsLoader", "FusedMoE", "StackedExperts"]


class StackedExperts(ShardedModule):
    """One matrix of every expert, [E, O, inputs]; several checkpoint matrices of an expert stand one below the other."""

    weight: torch.Tensor

    def __init__(
        self, ctx: ModelContext, num_experts: int, outputs: Sequence[tuple[str | None, Share]], inputs: Share
    ) -> None:
        super().__init__()
        rows = sum(share.length for _, share in outputs)
        weight_EOI = torch.empty(num_experts, rows, inputs.length, dtype=ctx.dtype, device=ctx.device)
        self.add_weight("weight", weight_EOI, ExpertsLoader(weight_EOI, outputs, inputs))


class ExpertsLoader:
    """Places the matrices of single experts; a part is called "3" or "3.gate" (see `expert_part`)."""

    def __init__(self, value_EOI: torch.Tensor, outputs: Sequence[tuple[str | None, Share]], inputs: Share) -> None:
        self._inputs = inputs
        self._targets: dict[str, tuple[torch.Tensor, Share]] = {}
        for expert, value_OI in enumerate(value_EOI):
            stretches = value_OI.split([share.length for _, share in outputs])
            for (name, share), rows in zip(outputs, stretches, strict=True):
                self._targets[expert_part(expert, name)] = (rows, share)

    @property
    def parts(self) -> tuple[str | None, ...]:
        return tuple(self._targets)

    def place(self, part: str | None) -> Placement:
        assert part is not None, "experts are loaded one by one"
        rows, share = self._targets[part]
        return Placement(rows, (share, self._inputs))


class FusedMoE(nn.Module):
    """Scores → the mixture of this rank's parts of the experts; the caller sums over the ranks."""

    def __init__(
        self,
        ctx: ModelContext,
        name: str,
        routing: Routing,
        *,
        hidden_size: int,
        intermediate_size: int,
        activation_op: str,
    ) -> None:
        """Args: intermediate_size: of one expert, before it is split."""
        super().__init__()
        for matrix in ("gate_up_proj", "down_proj"):  # of one expert: checkpoints name and ignore them one by one
            _check_not_quantised(ctx, f"{name}.0.{matrix}")
        inner = equal_share(ctx, intermediate_size, f"inner outputs of each expert in {name}")
        hidden = Share.whole(hidden_size)
        self.gate_up_proj = StackedExperts(ctx, routing.num_experts, [("gate", inner), ("up", inner)], hidden)
        self.down_proj = StackedExperts(ctx, routing.num_experts, [(None, hidden)], inner)
        self.op = ctx.ops.create("fused_moe", routing, activation_op=activation_op)

    def forward(self, x_TH: torch.Tensor, scores_TE: torch.Tensor) -> torch.Tensor:
        out_TH: torch.Tensor = self.op(x_TH, scores_TE, self.gate_up_proj.weight, self.down_proj.weight)
        return out_TH

    def process_after_loading(self) -> None:
        """Let the op in force lay the weights out its own way; what it has copied is not kept a second time."""
        stacks = (self.gate_up_proj, self.down_proj)
        for stack, weight in zip(stacks, self.op.lay_out(*(stack.weight.data for stack in stacks)), strict=True):
            stack.loaders.clear()  # they hold the weights as they came
            stack.weight = nn.Parameter(weight, requires_grad=False)


def _check_not_quantised(ctx: ModelContext, name: str) -> None:
    """Raises ConfigError where the method in force would quantise experts, which it would silently not do."""
    method = linear_method(ctx, name)
    if type(method) is not UnquantizedLinear:
        raise ConfigError(
            f"{name} is to be quantised ({type(method).__name__}), but this release has no quantised experts.",
            cause="--quantization, or the checkpoint's quantization_config, names no exception for them",
            remedy="use the checkpoint in 16 bits, or a method that leaves experts as they are",
        )
