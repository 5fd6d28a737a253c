"""Paged attention on the fused operator: one call for all rows of a step, prefills, chunks, cache hits and decodes alike.

The operator takes the step's queries as one long tensor (layout "TND") and reads keys and values from the cache's blocks. The lengths of
the rows go with the call as host lists, so that nothing here waits for the device.
Source: aclnnFusedInferAttentionScoreV4 and aclnnScatterPaKvCache in the CANN operator reference (Atlas A2/A3).

Legend: T tokens of the step, N rows, B block-table columns, H query heads, K key/value heads, D head size.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
import torch_npu
from torch.nn import functional

from vllm.attention.backends.abstract import AttentionBackend, AttentionBatch, AttentionSpec
from vllm_ascend.platform import BLOCK_SIZE

__all__ = ["FusedAttention", "FusedMetadata"]

MASK_SIZE = 2048
CAUSAL, BAND = 3, 4
"""Sparse modes: everything up to the query's own position; a band of `pre_tokens` before it."""


class FusedMetadata(NamedTuple):
    """What `forward` knows of the step. Lengths are host lists because the operator wants them there."""

    slot_mapping_T: torch.Tensor
    """int32: block × block size + offset."""
    block_table_NB: torch.Tensor
    """int32; columns past a row's length are not read."""
    query_ends_N: list[int]
    """Inclusive prefix sum of the rows' tokens."""
    seq_lens_N: list[int]


class FusedAttention(AttentionBackend[FusedMetadata]):
    """Caches are [blocks, block_size, K, D]; the operator sees them as [blocks, block_size, K × D]."""

    supported_dtypes = ("bfloat16", "float16")
    supported_head_sizes = (64, 128)
    block_size_multiple = BLOCK_SIZE
    supports_logits_soft_cap = False

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        # ones hide a key; the operator slides this corner along the diagonal, whatever the lengths
        self._mask = torch.ones(MASK_SIZE, MASK_SIZE, dtype=torch.int8).triu_(1).to(device)

    def kv_cache_shapes(
        self, num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> tuple[tuple[int, ...], ...]:
        """Keys and values alike."""
        shape = (num_blocks, block_size, num_kv_heads, head_size)
        return shape, shape

    def clear_blocks(self, kv_cache: tuple[torch.Tensor, ...], block_ids_A: torch.Tensor) -> None:
        """Nothing: the operator reads no position past a row's length."""

    def build_metadata(self, batch: AttentionBatch) -> FusedMetadata:
        """Copies, queued without a wait."""
        return FusedMetadata(
            slot_mapping_T=self._to_device(batch.slot_mapping_T),
            block_table_NB=self._to_device(batch.block_table_NB),
            query_ends_N=batch.query_start_N1[1:].tolist(),
            seq_lens_N=batch.seq_lens_N.tolist(),
        )

    def forward(
        self,
        q_THD: torch.Tensor,
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        kv_cache: tuple[torch.Tensor, ...],
        metadata: FusedMetadata,
        spec: AttentionSpec,
    ) -> torch.Tensor:
        """Two operators: all tokens into the cache, then every row over its context. Tokens that belong to no row come out as zeros."""
        k_cache, v_cache = kv_cache
        self._store(k_TKD.contiguous(), v_TKD.contiguous(), k_cache, v_cache, metadata.slot_mapping_T)
        num_tokens = metadata.query_ends_N[-1]
        padding = len(q_THD) - num_tokens
        out_THD = self._attend(q_THD[:num_tokens].contiguous(), k_cache, v_cache, metadata, spec)
        return functional.pad(out_THD, (0, 0, 0, 0, 0, padding)) if padding else out_THD

    def _store(
        self,
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        k_cache: torch.Tensor,
        v_cache: torch.Tensor,
        slot_mapping_T: torch.Tensor,
    ) -> None:
        torch_npu.npu_scatter_pa_kv_cache(k_TKD, v_TKD, k_cache, v_cache, slot_mapping_T, cache_mode="Norm")

    def _attend(
        self,
        q_THD: torch.Tensor,
        k_cache: torch.Tensor,
        v_cache: torch.Tensor,
        metadata: FusedMetadata,
        spec: AttentionSpec,
    ) -> torch.Tensor:
        out_THD: torch.Tensor = torch_npu.npu_fused_infer_attention_score(
            query=q_THD,
            key=k_cache.flatten(2),
            value=v_cache.flatten(2),
            atten_mask=self._mask,
            actual_seq_lengths=metadata.query_ends_N,
            actual_seq_lengths_kv=metadata.seq_lens_N,
            block_table=metadata.block_table_NB,
            input_layout="TND",
            block_size=k_cache.shape[1],
            num_heads=spec.num_heads,
            num_key_value_heads=spec.num_kv_heads,
            scale=spec.scale,
            **_sparse_mode(spec.sliding_window),
        )[0]
        return out_THD

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        """A copy as int32 by way of pinned memory, which torch keeps until the device has read it."""
        staged = torch.empty(array.shape, dtype=torch.int32, pin_memory=True)
        staged.numpy()[...] = array
        return staged.to(self.device, non_blocking=True)


def _sparse_mode(sliding_window: int | None) -> dict[str, Any]:
    """How far back a query sees: to the beginning, or `sliding_window` tokens with its own."""
    if sliding_window is None:
        return {"sparse_mode": CAUSAL}
    return {"sparse_mode": BAND, "pre_tokens": sliding_window - 1, "next_tokens": 0}
