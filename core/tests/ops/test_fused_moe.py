"""The native mixture of experts against a loop over tokens, against numbers computed by hand, and traced whole.

Legend: T tokens, E experts, H hidden size, I intermediate size.
"""

from __future__ import annotations

import pytest
import torch
from torch._dynamo.testing import CompileCounter
from torch.nn import functional

from vllm.errors import ConfigError
from vllm.model_executor.custom_op import OpSet
from vllm.model_executor.ops import FusedExperts
from vllm.model_executor.routing import RouterKind, Routing
from vllm.testing.expert_mixtures import HIDDEN, Mixture, expert_weights, mixtures

MIXTURES = {mixture.what: mixture for mixture in mixtures()}
ACTIVATIONS = {
    "silu_and_mul": functional.silu,
    "gelu_and_mul": functional.gelu,
    "gelu_tanh_and_mul": lambda x: functional.gelu(x, approximate="tanh"),
}


def make(mixture: Mixture) -> FusedExperts:
    op: FusedExperts = OpSet().create("fused_moe", mixture.routing, activation_op=mixture.activation_op)
    return op


def naive(mixture: Mixture, x_TH: torch.Tensor, gate_up_E2IH: torch.Tensor, down_EHI: torch.Tensor) -> torch.Tensor:
    """Token by token, expert by expert."""
    out_TH = torch.zeros_like(x_TH)
    for t, scores in enumerate(mixture.scores_TE.tolist()):
        shares = torch.tensor(scores, dtype=torch.float64).softmax(0).tolist()
        best = sorted(range(len(scores)), key=lambda expert: -scores[expert])[: mixture.routing.top_k]
        total = sum(shares[e] for e in best) if mixture.routing.kind is RouterKind.RENORMALISED_SOFTMAX else 1.0
        for e in best:
            gate_I, up_I = (gate_up_E2IH[e] @ x_TH[t]).chunk(2)
            out_TH[t] += shares[e] / total * (down_EHI[e] @ (ACTIVATIONS[mixture.activation_op](gate_I) * up_I))
    return out_TH


def tokens(mixture: Mixture) -> torch.Tensor:
    return torch.randn(len(mixture.likings_TE), HIDDEN, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("what", MIXTURES)
def test_it_equals_a_loop_over_tokens(what: str) -> None:
    mixture, weights = MIXTURES[what], expert_weights(MIXTURES[what].routing.num_experts)
    x_TH = tokens(mixture)
    found = make(mixture)(x_TH, mixture.scores_TE, *weights)
    torch.testing.assert_close(found, naive(mixture, x_TH, *weights), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("what", ["tokens on all experts, renormalised_softmax", "one token, softmax"])
def test_traced_whole_it_gives_the_same(what: str) -> None:
    mixture, weights = MIXTURES[what], expert_weights(MIXTURES[what].routing.num_experts)
    x_TH, op = tokens(mixture), make(mixture)
    traced = torch.compile(op, fullgraph=True, backend="eager")
    wanted = op(x_TH, mixture.scores_TE, *weights)
    torch.testing.assert_close(traced(x_TH, mixture.scores_TE, *weights), wanted, atol=1e-5, rtol=1e-5)


def test_one_trace_serves_every_way_of_falling() -> None:
    """Where tokens go is data: another distribution over the experts is no new shape."""
    torch._dynamo.reset()
    counter = CompileCounter()
    mixture, weights = MIXTURES["tokens on all experts, softmax"], expert_weights(8)
    x_TH, traced = tokens(mixture), torch.compile(make(mixture), fullgraph=True, backend=counter)
    for shift in range(3):
        traced(x_TH, mixture.scores_TE.roll(shift, 0), *weights)
    assert counter.frame_count == 1


@pytest.mark.parametrize("kind, wanted", [(RouterKind.SOFTMAX, 45.0), (RouterKind.RENORMALISED_SOFTMAX, 60.0)])
def test_by_hand(kind: RouterKind, wanted: float) -> None:
    """The softmax gives 1/4, 1/2 and, to the third expert, 1/4 less a little, which leaves it out.

    A gate of 30 passes silu unchanged (within 1e-11); times up = 2 that is 60, which experts give back once and once:
    60 × (1/2 + 1/4), or, renormalised, 60.
    """
    scores_13 = torch.tensor([[1.0, 2.0, 1.0 - 1e-6]]).log()
    op = FusedExperts(Routing(num_experts=3, top_k=2, kind=kind), activation_op="silu_and_mul")
    gate_up_321 = torch.tensor([[[30.0], [2.0]]] * 3)
    down_311 = torch.tensor([[[1.0]], [[1.0]], [[1000.0]]])
    found = op(torch.tensor([[1.0]]), scores_13, gate_up_321, down_311)
    assert found.item() == pytest.approx(wanted, rel=1e-5)


def test_more_experts_per_token_than_there_are() -> None:
    with pytest.raises(ConfigError, match="takes 3 of 2 experts"):
        Routing(num_experts=2, top_k=3, kind=RouterKind.SOFTMAX)
