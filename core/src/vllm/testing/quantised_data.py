"""Owns the inputs on which 8-bit linear maps are compared: values whose quantisation has one right answer, with all the hard rows.

Legend: T tokens, I inputs, O outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

__all__ = ["int8_weights", "tokens_on_a_grid"]

_LARGEST = 127
_COARSE_FROM = 32
"""Numbers of the grid from here on are whole: with a fraction they would need more bits than bfloat16 has."""


def int8_weights(outputs: int, inputs: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """(weight_OI int8, scale_O fp32) on the host: random, scales from small to 30 times that, one row of the largest values."""
    generator = torch.Generator().manual_seed(seed + outputs + inputs)
    weight_OI = torch.randint(-_LARGEST, _LARGEST + 1, (outputs, inputs), generator=generator).to(torch.int8)
    weight_OI[0] = _LARGEST
    scale_O = torch.logspace(-1.5, 0, outputs)[torch.randperm(outputs, generator=generator)] / (_LARGEST * inputs**0.5)
    return weight_OI, scale_O


def tokens_on_a_grid(shape: Sequence[int], inputs: int, seed: int = 0) -> torch.Tensor:
    """[*shape, I] in fp32: each token is a power of two times whole numbers, some a quarter off, the largest exactly 127.

    So its step is that power of two, no value lies between two roundings, and every dtype holds all of them exactly. Tokens take
    turns: ordinary; one outlier; all zeros; all as large as the largest. Their powers of two differ.
    """
    tokens = math.prod(shape)
    generator = torch.Generator().manual_seed(seed + tokens + inputs)
    whole_TI = torch.randint(-_LARGEST, _LARGEST + 1, (tokens, inputs), generator=generator).float()
    whole_TI[1::4] = whole_TI[1::4].sign() * (whole_TI[1::4].abs() % 3)
    quarters_TI = torch.randint(-1, 2, (tokens, inputs), generator=generator) / 4
    grid_TI = torch.where(whole_TI.abs() < _COARSE_FROM, whole_TI + quarters_TI, whole_TI)
    grid_TI[:, inputs // 2] = _LARGEST
    grid_TI[2::4] = 0
    grid_TI[3::4] = _LARGEST
    power_T1 = 2.0 ** (torch.arange(tokens) % 5 * 3 - 9).unsqueeze(1)
    return (grid_TI * power_T1).reshape(*shape, inputs)
