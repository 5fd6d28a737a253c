"""Owns the ops that touch the big matrices: the plain linear map and the embedding look-up of one vocabulary shard."""

from __future__ import annotations

import torch
from torch.nn import functional

from vllm.model_executor.custom_op import CustomOp, native_op

__all__ = ["Linear", "VocabEmbedding"]


@native_op("linear")
class Linear(CustomOp):
    """x · weightᵀ + bias. One op belongs to one layer."""

    def lay_out(self, weight_OI: torch.Tensor, *, is_shared: bool = False) -> torch.Tensor:
        """The weight as `forward` wants it, made once per layer after loading. A replacement may pack it its own way.

        Args:
            weight_OI: in the model's dtype, on the device; this rank's rows and columns, fused parts one below the other.
            is_shared: another layer reads the matrix as it is, so what is made of it takes memory beside it.
        """
        del is_shared
        return weight_OI

    def forward_native(self, x_TI: torch.Tensor, weight_OI: torch.Tensor, bias_O: torch.Tensor | None) -> torch.Tensor:
        return functional.linear(x_TI, weight_OI, bias_O)


@native_op("vocab_embedding")
class VocabEmbedding(CustomOp):
    """Rows of one rank's shard of the table; ids outside the shard give zeros, so that the sum over ranks is the look-up."""

    def __init__(self, first_id: int, num_ids: int, *, is_whole: bool) -> None:
        """The shard holds `first_id` … `first_id + num_ids - 1`; `is_whole` says that no other rank holds any."""
        super().__init__()
        self.first_id, self.num_ids, self.is_whole = first_id, num_ids, is_whole

    def forward_native(self, ids_T: torch.Tensor, weight_VH: torch.Tensor) -> torch.Tensor:
        if self.is_whole:
            return functional.embedding(ids_T, weight_VH)
        local_T = ids_T - self.first_id
        outside_T = (local_T < 0) | (local_T >= self.num_ids)
        rows_TH = functional.embedding(local_T.masked_fill(outside_T, 0), weight_VH)
        return rows_TH.masked_fill(outside_T.unsqueeze(-1), 0)
