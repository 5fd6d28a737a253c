"""Owns the two layers of the vocabulary's size: the embedding and the output head, split by rows over the ranks.

Every rank holds ceil(vocabulary / ranks) rows; rows past the vocabulary are zero and never reach a result.
Legend: T tokens, N rows that want logits, H hidden size, V vocabulary.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vllm.model_executor.layers.weights import Placement, ShardedModule, Share

if TYPE_CHECKING:
    from vllm.model_executor.context import ModelContext

__all__ = ["ParallelLMHead", "VocabParallelEmbedding"]


class VocabParallelEmbedding(ShardedModule):
    """Token ids → hidden states."""

    weight: torch.Tensor

    def __init__(self, ctx: ModelContext, vocab_size: int, hidden_size: int) -> None:
        super().__init__()
        self.tp = ctx.tp
        share, weight_VH = _vocab_shard(ctx, vocab_size, hidden_size)
        self.add_weight("weight", weight_VH, VocabLoader(weight_VH, share))
        self.op = ctx.ops.create("vocab_embedding", share.start, share.length, is_whole=ctx.tp.world_size == 1)

    def forward(self, ids_T: torch.Tensor) -> torch.Tensor:
        return self.tp.all_reduce(self.op(ids_T, self.weight))


class ParallelLMHead(ShardedModule):
    """Hidden states → logits of the whole vocabulary, on every rank."""

    weight: torch.Tensor

    def __init__(
        self, ctx: ModelContext, vocab_size: int, hidden_size: int, *, tied_to: VocabParallelEmbedding | None = None
    ) -> None:
        """Args: tied_to: the embedding whose table this head shares; None = a table of its own."""
        super().__init__()
        self.tp, self.vocab_size = ctx.tp, vocab_size
        if tied_to is not None:
            self.weight = tied_to.weight
        else:
            share, weight_VH = _vocab_shard(ctx, vocab_size, hidden_size)
            self.add_weight("weight", weight_VH, VocabLoader(weight_VH, share))
        self.is_tied = tied_to is not None
        self.op = ctx.ops.create("linear")

    def process_after_loading(self) -> None:
        """Let the op lay the table out; a tied one stays beside it, for the embedding."""
        plain_VH = self.weight.data
        laid_out = self.op.lay_out(plain_VH, is_shared=self.is_tied)
        if laid_out is not plain_VH:  # else a tied one stays the embedding's own parameter
            self.replace_weight("weight", laid_out)

    def forward(self, hidden_NH: torch.Tensor) -> torch.Tensor:
        logits_NV = self.tp.all_gather(self.op(hidden_NH, self.weight, None))
        return logits_NV[:, : self.vocab_size]


class VocabLoader:
    """Places the rows of this rank; the padding below them stays zero."""

    def __init__(self, value_VH: torch.Tensor, share: Share) -> None:
        self._value_VH, self._share = value_VH, share

    @property
    def parts(self) -> tuple[str | None, ...]:
        return (None,)

    def place(self, part: str | None) -> Placement:
        assert part is None, f"a vocabulary matrix has no part {part!r}"
        return Placement(self._value_VH[: self._share.length], (self._share, Share.whole(self._value_VH.shape[1])))


def _vocab_shard(ctx: ModelContext, vocab_size: int, hidden_size: int) -> tuple[Share, torch.Tensor]:
    rows = -(-vocab_size // ctx.tp.world_size)
    start = min(ctx.tp.rank * rows, vocab_size)
    share = Share(vocab_size, start, min(rows, vocab_size - start))
    return share, torch.zeros(rows, hidden_size, dtype=ctx.dtype, device=ctx.device)
