"""min_p, top_k and top_p against their definitions, row by row."""

from __future__ import annotations

import pytest
import torch

from core.tests.sampling.naive_sampler import naive_truncation
from vllm.sampling import truncation as module
from vllm.sampling.truncation import TOP_P_OFF, Truncation

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


@pytest.mark.parametrize("top_p", [0.2, 0.6, 0.999])
def test_a_nucleus_found_in_the_head_is_that_of_the_whole_vocabulary(
    top_p: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.2 and 0.6 lie in the head of the peaked rows; 0.999 does not, and everything is sorted."""
    logits = 4 * torch.randn(6, V, generator=torch.Generator().manual_seed(3))
    rows = truncation([0.0] * 6, [V] * 6, [top_p] * 5 + [TOP_P_OFF])
    whole = rows.apply(logits)
    monkeypatch.setattr(module, "HEAD_TOKENS", 12)
    monkeypatch.setattr(module, "SMALL_VOCABULARY", 20)
    assert torch.equal(rows.apply(logits), whole)
    assert kept(whole[5:]) == [set(range(V))]


def test_ties_do_not_make_a_row_depend_on_its_company() -> None:
    """Four equal logits at the k-th place; beside the row another one that asks for more tokens, or for no limit."""
    logits = torch.zeros(2, V)
    logits[0, :6] = torch.tensor([3.0, 2.0, 1.0, 1.0, 1.0, 1.0])
    alone = truncation([0.0], [3], [0.95]).apply(logits[:1])
    for other_k in (4, 10, V):
        assert torch.equal(truncation([0.0, 0.0], [3, other_k], [0.95, 0.5]).apply(logits)[:1], alone)
    assert kept(alone) == [{0, 1, 2, 3, 4, 5}]
