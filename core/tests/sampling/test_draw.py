"""Drawing from softmax by the tree: distribution, edges, and the twin that walks one row with plain Python."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from core.tests.sampling.naive_sampler import naive_draw
from vllm.sampling.draw import draw_tokens, num_levels
from vllm.sampling.rng import uniforms

NO_TOKEN = float("-inf")


@pytest.mark.parametrize(("vocab_size", "levels"), [(1, 1), (64, 1), (65, 2), (4096, 2), (4097, 3), (262_144, 3)])
def test_number_of_levels(vocab_size: int, levels: int) -> None:
    assert num_levels(vocab_size) == levels


@pytest.mark.parametrize("vocab_size", [3, 64, 100, 5000])
def test_equals_the_naive_twin(vocab_size: int) -> None:
    generator = torch.Generator().manual_seed(vocab_size)
    logits = 3 * torch.randn(40, vocab_size, generator=generator)
    uniform = torch.from_numpy(uniforms(np.arange(40, dtype=np.uint64), np.arange(40), num_levels(vocab_size)))
    expected = [naive_draw(row, u) for row, u in zip(logits.tolist(), uniform.tolist(), strict=True)]
    assert draw_tokens(logits, uniform).tolist() == expected


@pytest.mark.parametrize("vocab_size", [5, 200])
def test_frequencies_follow_softmax(vocab_size: int) -> None:
    draws = 20_000
    logits = torch.randn(1, vocab_size, generator=torch.Generator().manual_seed(1))
    uniform = torch.from_numpy(uniforms(np.full(draws, 42, np.uint64), np.arange(draws), num_levels(vocab_size)))
    tokens = draw_tokens(logits.expand(draws, -1), uniform)
    expected = draws * logits[0].softmax(-1).double().numpy()
    chi_square = ((np.bincount(tokens, minlength=vocab_size) - expected) ** 2 / expected).sum()
    degrees = vocab_size - 1
    assert chi_square < degrees + 3.3 * math.sqrt(2 * degrees) + 5  # beyond the 99.9 % point


@pytest.mark.parametrize("edge", [0.0, 1 - 2.0**-23])
def test_the_ends_of_the_unit_interval_never_pick_an_excluded_token(edge: float) -> None:
    logits = torch.full((3, 300), NO_TOKEN)
    logits[0, 17], logits[1, 0], logits[2, 299] = 1.0, -50.0, 3.0
    assert draw_tokens(logits, torch.full((3, 2), edge)).tolist() == [17, 0, 299]


def test_the_smallest_and_the_largest_uniform_pick_the_first_and_the_last_candidate() -> None:
    logits = torch.full((1, 300), NO_TOKEN)
    logits[0, [20, 150, 280]] = 0.0
    assert draw_tokens(logits, torch.zeros(1, 2)).tolist() == [20]
    assert draw_tokens(logits, torch.full((1, 2), 1 - 2.0**-23)).tolist() == [280]


def test_logits_of_any_size_are_safe() -> None:
    logits = torch.tensor([[1e30, 0.0, -1e30], [-1e30, -1e30, NO_TOKEN]])
    assert draw_tokens(logits, torch.full((2, 1), 0.3)).tolist() == [0, 0]


def test_rounding_noise_in_the_logits_almost_never_changes_a_draw() -> None:
    """What batch size does to a matrix product; a draw may only change where a uniform lies on a boundary."""
    rows, vocab_size = 2000, 4096
    generator = torch.Generator().manual_seed(0)
    logits = 2 * torch.randn(rows, vocab_size, generator=generator)
    noise = 2e-6 * torch.randn(rows, vocab_size, generator=generator)
    uniform = torch.from_numpy(uniforms(np.arange(rows, dtype=np.uint64), np.arange(rows), 2))
    changed = (draw_tokens(logits, uniform) != draw_tokens(logits + noise, uniform)).sum()
    assert changed <= 1
