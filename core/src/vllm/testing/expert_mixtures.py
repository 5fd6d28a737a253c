"""Owns the data of the law of experts: routers without ties, and the ways in which tokens may fall on experts.

Legend: T tokens, E experts, H hidden size, I intermediate size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch

from vllm.model_executor.routing import RouterKind, Routing

__all__ = ["HIDDEN", "INNER", "Mixture", "expert_weights", "mixtures", "shard"]

HIDDEN, INNER = 64, 48
_STEP = 0.25
"""Scores of a token differ by at least so much, exact in every dtype: no rounding changes the choice."""


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """One case: which experts each token likes best, and what the router makes of it."""

    what: str
    routing: Routing
    likings_TE: torch.Tensor
    """Each row a permutation of 0 … E - 1; the expert with the highest number is the token's best."""
    activation_op: str = "silu_and_mul"

    @property
    def scores_TE(self) -> torch.Tensor:
        """The router's outputs in fp32; their mean over the experts is not zero, which no softmax should notice."""
        return self.likings_TE * _STEP - 1.0


def mixtures() -> Iterator[Mixture]:
    """Both kinds of router on every way of falling; other counts and activations on tokens that spread."""
    for kind in RouterKind:
        two_of_eight = Routing(num_experts=8, top_k=2, kind=kind)
        for what, make in _FALLS.items():
            yield Mixture(what=f"{what}, {kind.value}", routing=two_of_eight, likings_TE=make(8))
        for num_experts, top_k in ((5, 1), (4, 4), (64, 6)):
            routing = Routing(num_experts=num_experts, top_k=top_k, kind=kind)
            what = f"{top_k} of {num_experts} experts, {kind.value}"
            yield Mixture(what=what, routing=routing, likings_TE=_spread(9, num_experts))
    for activation_op in ("gelu_and_mul", "gelu_tanh_and_mul"):
        yield Mixture(what=activation_op, routing=two_of_eight, likings_TE=_spread(5, 8), activation_op=activation_op)


def expert_weights(num_experts: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(gate_up_E2IH, down_EHI) in fp32, every expert another."""
    generator = torch.Generator().manual_seed(num_experts)
    gate_up_E2IH = torch.randn(num_experts, 2 * INNER, HIDDEN, generator=generator) * 0.7 * HIDDEN**-0.5
    return gate_up_E2IH, torch.randn(num_experts, HIDDEN, INNER, generator=generator) * INNER**-0.5


def shard(weights: Sequence[torch.Tensor], rank: int, ranks: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The part of every expert that one of several ranks holds; `weights` as `expert_weights` gives them."""
    gate_up_E2IH, down_EHI = weights
    gate_EIH, up_EIH = (half.chunk(ranks, dim=1)[rank] for half in gate_up_E2IH.chunk(2, dim=1))
    return torch.cat((gate_EIH, up_EIH), dim=1), down_EHI.chunk(ranks, dim=2)[rank].contiguous()


def _spread(tokens: int, num_experts: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(tokens)
    return torch.rand(tokens, num_experts, generator=generator).argsort(-1)


def _same(num_experts: int) -> torch.Tensor:
    return _spread(1, num_experts).expand(21, -1).contiguous()


def _first_and_last(num_experts: int) -> torch.Tensor:
    """Tokens in turns like the first and the last expert best; all those between stay without a token."""
    rising = torch.arange(num_experts)
    ends = torch.cat((rising[-2:], rising[:-2])), torch.cat((rising[2:], rising[:2]))
    return torch.stack(ends).repeat(4, 1)


_FALLS: dict[str, Callable[[int], torch.Tensor]] = {
    "one token": lambda num_experts: _spread(1, num_experts),
    "no token": lambda num_experts: _spread(0, num_experts),
    "tokens on all experts": lambda num_experts: _spread(33, num_experts),
    "all tokens on the same experts": _same,
    "tokens on the outer experts only": _first_and_last,
}
