"""Owns the attention oracle: dense fp32 attention through the block table, one row at a time, as plain as it can be written.

Legend: T tokens of the step, N rows, S context length of one row, C its tokens in this step, H query heads, K key/value heads, D head size.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from vllm.attention.backends.abstract import AttentionBackend, AttentionBatch, AttentionSpec

__all__ = ["DenseAttention", "DenseMetadata"]


class DenseMetadata(NamedTuple):
    """One step's geometry; host lists, because the oracle walks row by row."""

    query_start_N1: list[int]
    seq_lens_N: list[int]
    slots_by_row: list[torch.Tensor]
    """[N] of [S] flat cache slots of each row's whole context, in order."""
    slot_mapping_T: torch.Tensor


class DenseAttention(AttentionBackend[DenseMetadata]):
    """Slow on purpose. Every other backend must equal it."""

    supported_dtypes = ("float32", "bfloat16", "float16")

    def kv_cache_shapes(
        self, num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> tuple[tuple[int, ...], ...]:
        shape = (num_blocks, block_size, num_kv_heads, head_size)
        return shape, shape

    def build_metadata(self, batch: AttentionBatch) -> DenseMetadata:
        lengths = batch.seq_lens_N.tolist()
        return DenseMetadata(
            query_start_N1=batch.query_start_N1.tolist(),
            seq_lens_N=lengths,
            slots_by_row=[self._context_slots(batch, row, length) for row, length in enumerate(lengths)],
            slot_mapping_T=torch.tensor(batch.slot_mapping_T, device=self.device),
        )

    def _context_slots(self, batch: AttentionBatch, row: int, length: int) -> torch.Tensor:
        slots = [
            int(batch.block_table_NB[row, position // batch.block_size]) * batch.block_size
            + position % batch.block_size
            for position in range(length)
        ]
        return torch.tensor(slots, dtype=torch.int64, device=self.device)

    def forward(
        self,
        q_THD: torch.Tensor,
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        kv_cache: tuple[torch.Tensor, ...],
        metadata: DenseMetadata,
        spec: AttentionSpec,
    ) -> torch.Tensor:
        keys_SKD, values_SKD = (cache.flatten(0, 1) for cache in kv_cache)
        tokens = metadata.slot_mapping_T.shape[0]  # past them there is padding
        keys_SKD[metadata.slot_mapping_T] = k_TKD[:tokens].to(keys_SKD.dtype)
        values_SKD[metadata.slot_mapping_T] = v_TKD[:tokens].to(values_SKD.dtype)
        out_THD = torch.zeros_like(q_THD, memory_format=torch.contiguous_format)
        for row, slots_S in enumerate(metadata.slots_by_row):
            start, end = metadata.query_start_N1[row], metadata.query_start_N1[row + 1]
            out_THD[start:end] = attend(q_THD[start:end], keys_SKD[slots_S], values_SKD[slots_S], spec).to(q_THD.dtype)
        return out_THD


def attend(q_CHD: torch.Tensor, k_SKD: torch.Tensor, v_SKD: torch.Tensor, spec: AttentionSpec) -> torch.Tensor:
    """One row's attention in fp32; its queries are the last C of its S positions."""
    heads_per_kv = q_CHD.shape[1] // k_SKD.shape[1]
    k_SHD = k_SKD.float().repeat_interleave(heads_per_kv, dim=1)
    v_SHD = v_SKD.float().repeat_interleave(heads_per_kv, dim=1)
    scores_HCS = torch.einsum("chd,shd->hcs", q_CHD.float(), k_SHD) * spec.scale
    if spec.logits_soft_cap is not None:
        scores_HCS = spec.logits_soft_cap * torch.tanh(scores_HCS / spec.logits_soft_cap)
    hidden_CS = ~_visible(q_CHD.shape[0], k_SKD.shape[0], spec.sliding_window, q_CHD.device)
    weights_HCS = scores_HCS.masked_fill(hidden_CS, float("-inf")).softmax(dim=-1)
    return torch.einsum("hcs,shd->chd", weights_HCS, v_SHD)


def _visible(num_queries: int, context: int, window: int | None, device: torch.device) -> torch.Tensor:
    query_C1 = torch.arange(context - num_queries, context, device=device).unsqueeze(1)
    key_1S = torch.arange(context, device=device).unsqueeze(0)
    causal_CS = key_1S <= query_C1
    return causal_CS if window is None else causal_CS & (key_1S > query_C1 - window)
