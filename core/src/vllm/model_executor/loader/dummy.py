"""Owns `--load-format dummy`: small random weights that do not depend on how the model is split over ranks."""

from __future__ import annotations

import hashlib

import torch

from vllm.model_executor.layers.weights import weight_loaders
from vllm.model_executor.models.interface import CausalLM

__all__ = ["fill_with_dummy_weights"]

_LARGEST = 1e-2
"""Small enough that no dtype overflows through many layers, large enough that outputs differ."""
_LARGEST_WHOLE = 1
"""Of quantised weights: their scales are drawn like everything else, so that the products are as small."""


def fill_with_dummy_weights(model: CausalLM, seed: int) -> None:
    """Draw every whole checkpoint tensor from (seed, parameter, part), then keep this rank's stretch, as the loader would."""
    for name, loader in weight_loaders(model).items():
        for part in loader.parts:
            placement = loader.place(part)
            whole = _draw(f"{seed}/{name}/{part or ''}", placement.checkpoint_shape)
            if not placement.target.is_floating_point():
                whole = (whole * (_LARGEST_WHOLE / _LARGEST)).round()
            placement.target.copy_(whole[placement.source])


def _draw(key: str, shape: tuple[int, ...]) -> torch.Tensor:
    generator = torch.Generator().manual_seed(
        int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "little", signed=True)
    )
    return torch.empty(shape).uniform_(-_LARGEST, _LARGEST, generator=generator)
