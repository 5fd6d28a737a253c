"""A backend whose metadata is tensors only, as the contract of tracing wants it; the same result as the dense oracle.

Legend: T tokens of the step, S flat cache slots of the longest context, H query heads, K key/value heads, D head size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

from vllm.attention.backends.abstract import AttentionBatch, AttentionSpec
from vllm.testing.dense_attention import DenseAttention


class TensorMetadata(NamedTuple):
    context_TS: torch.Tensor
    """Cache slot of every position of each token's text; 0 past its columns."""
    position_T1: torch.Tensor
    slot_mapping_T: torch.Tensor


class TensorAttention(DenseAttention):
    """Every token gathers its own context: no loop, no Python number from the step."""

    def build_metadata(self, batch: AttentionBatch) -> TensorMetadata:  # type: ignore[override]
        counts_N = np.diff(batch.query_start_N1)
        positions_T = np.concatenate([np.arange(s - n, s) for s, n in zip(batch.seq_lens_N, counts_N, strict=True)])
        column_S = np.arange(batch.block_table_NB.shape[1] * batch.block_size)
        slots_NS = (
            batch.block_table_NB[:, column_S // batch.block_size] * batch.block_size + column_S % batch.block_size
        )
        return TensorMetadata(
            torch.tensor(np.repeat(slots_NS, counts_N, axis=0)).long(),
            torch.tensor(positions_T).unsqueeze(1),
            torch.tensor(batch.slot_mapping_T),
        )

    def forward(
        self,
        q_THD: torch.Tensor,
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        kv_cache: tuple[torch.Tensor, ...],
        metadata: TensorMetadata,  # type: ignore[override]
        spec: AttentionSpec,
    ) -> torch.Tensor:
        keys_SKD, values_SKD = (cache.flatten(0, 1) for cache in kv_cache)
        keys_SKD.index_copy_(0, metadata.slot_mapping_T, k_TKD)
        values_SKD.index_copy_(0, metadata.slot_mapping_T, v_TKD)
        group = spec.num_heads // spec.num_kv_heads
        k_TSHD = keys_SKD[metadata.context_TS].repeat_interleave(group, dim=2)
        v_TSHD = values_SKD[metadata.context_TS].repeat_interleave(group, dim=2)
        scores_THS = torch.einsum("thd,tshd->ths", q_THD, k_TSHD) * spec.scale
        if spec.logits_soft_cap is not None:
            scores_THS = spec.logits_soft_cap * torch.tanh(scores_THS / spec.logits_soft_cap)
        hidden_TS = _hidden(metadata, spec.sliding_window)
        weights_THS = scores_THS.masked_fill(hidden_TS.unsqueeze(1), float("-inf")).softmax(-1)
        return torch.einsum("ths,tshd->thd", weights_THS, v_TSHD)


def _hidden(metadata: TensorMetadata, window: int | None) -> torch.Tensor:
    column_1S = torch.arange(metadata.context_TS.shape[1]).unsqueeze(0)
    hidden_TS = column_1S > metadata.position_T1
    return hidden_TS if window is None else hidden_TS | (column_1S <= metadata.position_T1 - window)
