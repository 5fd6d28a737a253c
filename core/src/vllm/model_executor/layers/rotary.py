"""Owns the cosines and sines of rotary embeddings: one table per kind of rotation, gathered once per step for all layers.

The table is fixed when the model is built. Types whose frequencies depend on the text's length ("dynamic", "longrope") take the longest
context that the engine serves: keys in the cache must not change their meaning while a text grows.
Legend: P positions, T tokens, F frequencies, R rotating dimensions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn

from vllm.model_executor.layers.rotary_frequencies import inverse_frequencies

if TYPE_CHECKING:
    from vllm.model_executor.loader.rope_config import RopeConfig
    from vllm.model_executor.ops.rotary import RotaryEmbedding

__all__ = ["RotaryTable"]


class RotaryTable(nn.Module):
    """Positions → (cos_TR, sin_TR), as the op "rotary_embedding" wants them."""

    cos_sin_P2R: torch.Tensor

    def __init__(
        self,
        rope: RopeConfig,
        op: RotaryEmbedding,
        *,
        head_size: int,
        max_model_len: int,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        """Args: op: says how the table is laid out."""
        super().__init__()
        rotary_dim = int(head_size * rope.partial_rotary_factor)
        inv_freq_F, attention_factor = inverse_frequencies(rope, rotary_dim, max_model_len)
        angles_PF = torch.arange(max_model_len, dtype=torch.float32).unsqueeze(1) * inv_freq_F
        cos_PF, sin_PF = angles_PF.cos() * attention_factor, angles_PF.sin() * attention_factor
        cos_sin_P2R = torch.stack(op.lay_out(cos_PF, sin_PF), dim=1)
        self.register_buffer("cos_sin_P2R", cos_sin_P2R.to(device=device, dtype=dtype), persistent=False)

    def forward(self, positions_T: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Positions must lie in 0 … max_model_len - 1."""
        cos_TR, sin_TR = self.cos_sin_P2R.index_select(0, positions_T).unbind(1)
        return cos_TR, sin_TR
