"""Owns the cosines and sines of rotary embeddings: one table per kind of rotation, gathered once per step for all layers.

The table is fixed when the model is built. Types whose frequencies depend on the text's length ("dynamic", "longrope") take the longest
context that the engine serves: keys in the cache must not change their meaning while a text grows.
Legend: P positions, T tokens, R rotating dimensions.
"""

from __future__ import annotations

import torch
from torch import nn

from vllm.model_executor.layers.rotary_frequencies import inverse_frequencies
from vllm.model_executor.loader.rope_config import RopeConfig

__all__ = ["RotaryTable"]


class RotaryTable(nn.Module):
    """Positions → (cos_TR, sin_TR), as the op "rotary_embedding" wants them."""

    cos_sin_P2R: torch.Tensor

    def __init__(
        self,
        rope: RopeConfig,
        *,
        head_size: int,
        max_model_len: int,
        interleaved: bool,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__()
        rotary_dim = int(head_size * rope.partial_rotary_factor)
        inv_freq, attention_factor = inverse_frequencies(rope, rotary_dim, max_model_len)
        angles = torch.arange(max_model_len, dtype=torch.float32).unsqueeze(1) * inv_freq
        angles_PR = angles.repeat_interleave(2, dim=1) if interleaved else torch.cat((angles, angles), dim=1)
        cos_sin_P2R = torch.stack((angles_PR.cos(), angles_PR.sin()), dim=1) * attention_factor
        self.register_buffer("cos_sin_P2R", cos_sin_P2R.to(device=device, dtype=dtype), persistent=False)

    def forward(self, positions_T: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions must lie in 0 … max_model_len - 1."""
        cos_TR, sin_TR = self.cos_sin_P2R[positions_T].unbind(1)
        return cos_TR, sin_TR
