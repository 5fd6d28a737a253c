"""min_p, top_k and top_p against their definitions, row by row."""

from __future__ import annotations

import pytest
import torch

from core.tests.sampling.naive_sampler import naive_truncation
from vllm.sampling.rows import TOP_P_OFF
from vllm.sampling.truncation import Truncation

V = 50
NO_TOKEN = float("-inf")


def truncation(min_p: list[float], top_k: list[int], top_p: list[float]) -> Truncation:
    def column(values: list[float], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        return torch.tensor(values, dtype=dtype)[:, None]

    return Truncation(
        min_p_R1=column(min_p) if any(min_p) else None,
        top_k_R1=column(top_k, torch.int64) if min(top_k) < V else None,
        max_top_k=max(top_k),
        top_p_R1=column(top_p) if min(top_p) < 1 else None,
    )


def kept(logits: torch.Tensor) -> list[set[int]]:
    return [set(row.isfinite().nonzero()[:, 0].tolist()) for row in logits]


CASES = [
    ([0.0] * 4, [V] * 4, [0.9, 0.5, 0.01, TOP_P_OFF]),
    ([0.0] * 4, [1, 3, V, 20], [TOP_P_OFF] * 4),
    ([0.0] * 4, [5, 3, 2, 10], [0.7, 0.2, TOP_P_OFF, 0.99]),
    ([0.3, 0.0, 1.0, 0.05], [V] * 4, [TOP_P_OFF] * 4),
    ([0.1, 0.0, 0.02, 0.0], [5, V, 10, V], [0.8, TOP_P_OFF, 0.6, 0.95]),
]


@pytest.mark.parametrize(("min_p", "top_k", "top_p"), CASES)
def test_equals_the_definitions(min_p: list[float], top_k: list[int], top_p: list[float]) -> None:
    logits = 2 * torch.randn(4, V, generator=torch.Generator().manual_seed(7))
    actual = truncation(min_p, top_k, top_p).apply(logits)
    expected = [naive_truncation(*row) for row in zip(logits.tolist(), min_p, top_k, top_p, strict=True)]
    assert kept(actual) == expected
    stays = actual.isfinite()
    assert torch.equal(actual[stays], logits[stays]), "what stays keeps its logit"


def test_a_row_that_does_not_ask_keeps_every_token_beside_one_that_does() -> None:
    logits = torch.linspace(-30, 0, V).repeat(2, 1)  # the tail lies below fp32's resolution of a cumulative sum
    actual = truncation([0.0, 0.5], [V, 2], [TOP_P_OFF, 0.5]).apply(logits)
    assert kept(actual) == [set(range(V)), {V - 1}]


def test_equal_logits_share_their_fate() -> None:
    logits = torch.zeros(1, V)
    assert kept(truncation([0.0], [3], [TOP_P_OFF]).apply(logits)) == [set(range(V))]


def test_tokens_excluded_before_stay_excluded() -> None:
    logits = torch.full((1, V), NO_TOKEN)
    logits[0, [3, 4]] = torch.tensor([0.0, 1.0])
    assert kept(truncation([0.0], [10], [0.999]).apply(logits)) == [{3, 4}]
