"""Owns what the runner and the loader ask of a model: the interface that out-of-tree models implement.

Legend: T tokens of the step, N rows that want logits, H hidden size, V vocabulary.
"""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import nn

from vllm.model_executor.loader.names import CheckpointNames

if TYPE_CHECKING:
    from vllm.attention.layer import Attention
    from vllm.model_executor.context import ModelContext

__all__ = ["CausalLM"]

KVCaches = list[tuple[torch.Tensor, ...]]


class CausalLM(nn.Module, abc.ABC):
    """A text model that generates. Built as `Model(ctx)`: parameters on `ctx.device` in `ctx.dtype`, sharded over `ctx.tp`."""

    checkpoint_names: ClassVar[CheckpointNames] = CheckpointNames()
    """How the checkpoint's tensors are called; the default takes the parameters' own names."""

    attention_layers: list[Attention]
    """Every attention layer, in the order in which they take their entry of `kv_caches`."""

    def __init__(self, ctx: ModelContext) -> None:
        super().__init__()
        self.attention_layers = []

    def ignores_tensor(self, name: str) -> bool:
        """Whether the checkpoint tensor `name` is left unread; default: what `checkpoint_names` ignores."""
        return self.checkpoint_names.is_ignored(name)

    @abc.abstractmethod
    def forward(
        self, input_ids_T: torch.Tensor, positions_T: torch.Tensor, kv_caches: KVCaches, metadata: Any
    ) -> torch.Tensor:
        """hidden_TH after the final norm. It reads no Python state that changes between steps: it is traced whole.

        Args:
            input_ids_T: int32 or int64, 0 … V-1.
            positions_T: int64, place of each token in its text.
            kv_caches: entry i belongs to `attention_layers[i]`; may be empty when `metadata` is None.
            metadata: what the attention backend built for this step; None while memory is profiled without a cache.
        """

    @abc.abstractmethod
    def compute_logits(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        """logits_NV in the model's dtype, of the whole vocabulary, on every rank."""
