"""Owns the linear layers and how they are split over the ranks (Megatron's way: Shoeybi et al. 2019, arXiv:1909.08053).

Column layers split their outputs and leave them split; row layers split their inputs and sum the results over the ranks.
Legend: T tokens, I inputs on this rank, O outputs on this rank.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from vllm.errors import ConfigError
from vllm.model_executor.layers.quantization import PartsLoader, linear_method
from vllm.model_executor.layers.weights import ShardedModule, Share

if TYPE_CHECKING:
    from vllm.model_executor.context import ModelContext

__all__ = [
    "ColumnParallelLinear",
    "LinearLayer",
    "MergedColumnParallelLinear",
    "OutputPart",
    "QKVParallelLinear",
    "ReplicatedLinear",
    "RowParallelLinear",
    "equal_share",
]


@dataclass(frozen=True, slots=True)
class OutputPart:
    """One checkpoint matrix of a fused layer: its rows on this rank and where they start in the fused parameter."""

    name: str | None
    share: Share
    offset: int


class LinearLayer(ShardedModule):
    """A linear map of which this rank holds some outputs (`parts`) over some inputs (`input_share`)."""

    weight: torch.Tensor
    bias: torch.Tensor | None

    def __init__(
        self,
        ctx: ModelContext,
        name: str,
        outputs: Sequence[tuple[str | None, Share]],
        input_share: Share,
        *,
        bias: bool,
    ) -> None:
        super().__init__()
        self.parts = _stack(outputs)
        self.input_share = input_share
        self.out_features = sum(part.share.length for part in self.parts)
        self.method = linear_method(ctx, name)
        self.method.create_weights(self, dtype=ctx.dtype, device=ctx.device)
        self.register_parameter("bias", None)
        if bias:
            bias_O = torch.empty(self.out_features, dtype=ctx.dtype, device=ctx.device)
            self.add_weight("bias", bias_O, PartsLoader(bias_O, self.parts))

    def forward(self, x_TI: torch.Tensor) -> torch.Tensor:
        return self.method.apply(self, x_TI, self.bias)


class ReplicatedLinear(nn.Module):
    """Every rank computes all outputs: for routers and gates, which are too small to split and too delicate to quantise."""

    def __init__(self, ctx: ModelContext, in_features: int, out_features: int) -> None:
        super().__init__()
        weight_OI = torch.empty(out_features, in_features, dtype=ctx.dtype, device=ctx.device)
        self.weight = nn.Parameter(weight_OI, requires_grad=False)
        self.op = ctx.ops.create("linear")

    def process_after_loading(self) -> None:
        """Let the op lay the matrix out."""
        plain_OI = self.weight.data
        laid_out = self.op.lay_out(plain_OI)
        if laid_out is not plain_OI:
            self.weight = nn.Parameter(laid_out, requires_grad=False)

    def forward(self, x_TI: torch.Tensor) -> torch.Tensor:
        out_TO: torch.Tensor = self.op(x_TI, self.weight, None)
        return out_TO


class ColumnParallelLinear(LinearLayer):
    """Each rank computes an equal stretch of the outputs."""

    def __init__(self, ctx: ModelContext, name: str, in_features: int, out_features: int, *, bias: bool) -> None:
        share = equal_share(ctx, out_features, f"outputs of {name}")
        super().__init__(ctx, name, [(None, share)], Share.whole(in_features), bias=bias)


class MergedColumnParallelLinear(LinearLayer):
    """Several column layers over one input as one matrix: each rank holds its stretch of the first, then of the second, …"""

    def __init__(self, ctx: ModelContext, name: str, in_features: int, parts: dict[str, int], *, bias: bool) -> None:
        """Args: parts: checkpoint matrix → its outputs, in the order in which they stand in the result."""
        shares = [(part, equal_share(ctx, size, f"outputs of {part} in {name}")) for part, size in parts.items()]
        super().__init__(ctx, name, shares, Share.whole(in_features), bias=bias)


class QKVParallelLinear(LinearLayer):
    """Queries, keys and values as one matrix, split by heads; with fewer key/value heads than ranks each is kept by several."""

    def __init__(
        self,
        ctx: ModelContext,
        name: str,
        in_features: int,
        *,
        num_heads: int,
        num_kv_heads: int,
        head_size: int,
        bias: bool,
    ) -> None:
        q_heads = equal_share(ctx, num_heads, f"attention heads of {name}")
        kv_heads = _kv_head_share(ctx, num_kv_heads, name)
        q, kv = _scaled(q_heads, head_size), _scaled(kv_heads, head_size)
        super().__init__(ctx, name, [("q", q), ("k", kv), ("v", kv)], Share.whole(in_features), bias=bias)
        self.num_heads, self.num_kv_heads = q_heads.length, kv_heads.length


class RowParallelLinear(LinearLayer):
    """Each rank multiplies its stretch of the inputs; the results are summed over the ranks."""

    def __init__(
        self,
        ctx: ModelContext,
        name: str,
        in_features: int,
        out_features: int,
        *,
        bias: bool,
        reduce_results: bool = True,
    ) -> None:
        """Args: reduce_results: False leaves the sum over the ranks to the caller, who has more to add."""
        share = equal_share(ctx, in_features, f"inputs of {name}")
        super().__init__(ctx, name, [(None, Share.whole(out_features))], share, bias=bias)
        self.tp = ctx.tp
        self.reduce_results = reduce_results

    def forward(self, x_TI: torch.Tensor) -> torch.Tensor:
        bias_O = self.bias if self.tp.rank == 0 else None  # the sum over the ranks must hold it once
        out_TO = self.method.apply(self, x_TI, bias_O)
        return self.tp.all_reduce(out_TO) if self.reduce_results else out_TO


def equal_share(ctx: ModelContext, total: int, of_what: str) -> Share:
    """This rank's equal stretch of `total`.

    Raises:
        ConfigError: `total` does not divide by the tensor-parallel size.
    """
    if total % ctx.tp.world_size:
        fitting = [str(size) for size in range(1, total + 1) if total % size == 0 and size <= 2 * ctx.tp.world_size]
        raise ConfigError(
            f"The {total} {of_what} cannot be split evenly over --tensor-parallel-size {ctx.tp.world_size}.",
            remedy=f"use a size that divides {total}, such as {', '.join(fitting)}",
        )
    return Share.equal(total, ctx.tp.rank, ctx.tp.world_size)


def _kv_head_share(ctx: ModelContext, num_kv_heads: int, name: str) -> Share:
    ranks_per_head, rest = divmod(ctx.tp.world_size, num_kv_heads)
    if ranks_per_head <= 1 or rest:
        return equal_share(ctx, num_kv_heads, f"key/value heads of {name}")
    return Share(num_kv_heads, ctx.tp.rank // ranks_per_head, 1)


def _scaled(heads: Share, head_size: int) -> Share:
    return Share(heads.total * head_size, heads.start * head_size, heads.length * head_size)


def _stack(outputs: Sequence[tuple[str | None, Share]]) -> tuple[OutputPart, ...]:
    parts: list[OutputPart] = []
    offset = 0
    for name, share in outputs:
        parts.append(OutputPart(name, share, offset))
        offset += share.length
    return tuple(parts)
