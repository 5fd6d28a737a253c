"""Owns the attention layer of a model: it holds what is fixed for the layer and calls the platform's backend once per step.

Legend: T tokens, H query heads, K key/value heads, D head size (heads on this rank).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from vllm.attention.backends.abstract import AttentionSpec
from vllm.attention.selection import check_backend_fits_layer

if TYPE_CHECKING:
    from vllm.model_executor.context import ModelContext

__all__ = ["Attention"]


class Attention(nn.Module):
    """One layer's causal attention through the paged cache. The runner finds these in the model and sizes the cache after them."""

    def __init__(
        self,
        ctx: ModelContext,
        layer_name: str,
        *,
        num_heads: int,
        num_kv_heads: int,
        head_size: int,
        scale: float,
        sliding_window: int | None = None,
        logits_soft_cap: float | None = None,
    ) -> None:
        """`num_heads` and `num_kv_heads` count this rank's heads; `layer_name` is unique in the model.

        Raises:
            ConfigError: the backend cannot do what the layer needs.
        """
        super().__init__()
        self.layer_name = layer_name
        self.backend = ctx.attention
        self.spec = AttentionSpec(
            num_heads=num_heads,
            num_kv_heads=num_kv_heads,
            head_size=head_size,
            scale=scale,
            sliding_window=sliding_window,
            logits_soft_cap=logits_soft_cap,
        )
        check_backend_fits_layer(type(ctx.attention), self.spec, layer_name)

    @property
    def num_kv_heads(self) -> int:
        """Key/value heads on this rank."""
        return self.spec.num_kv_heads

    @property
    def head_size(self) -> int:
        """Dimensions of one head."""
        return self.spec.head_size

    def forward(
        self,
        q_THD: torch.Tensor,
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        kv_cache: tuple[torch.Tensor, ...],
        metadata: Any,
    ) -> torch.Tensor:
        """out_THD. With `metadata` None (profiling without a cache) zeros, and `kv_cache` is not looked at."""
        if metadata is None:
            return q_THD.new_zeros(q_THD.shape)
        return self.backend.forward(q_THD, k_TKD, v_TKD, kv_cache, metadata, self.spec)
