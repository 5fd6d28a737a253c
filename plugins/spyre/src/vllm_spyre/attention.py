"""Attention for compiled steps: every shape follows from the batch's padding, every operation from a short list that compilers know.

A step of fixed shape is one group of rows: decodes, or one chunk of a prompt. Rows end in the same column of the block table; what stands
left of them is block 0. Other batches (the conformance kit's) become several groups.

Legend: T tokens, N rows of the batch, R rows of a group, Q queries per row, C block-table columns, L = C × block size, H query heads,
K key/value heads, G = H // K, D head size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from vllm.attention.backends.abstract import AttentionBackend, AttentionBatch, AttentionSpec
from vllm_spyre.settings import BLOCK_TOKENS

__all__ = ["RowGroup", "SpyreAttention", "SpyreMetadata"]


class RowGroup(NamedTuple):
    """Rows with the same number of queries, whose tokens follow each other. Places count from the padded context's first column."""

    block_RC: torch.Tensor
    query_place_RQ: torch.Tensor
    first_place_R: torch.Tensor
    """Of the row's own tokens."""
    end_place_R: torch.Tensor


class SpyreMetadata(NamedTuple):
    """What `forward` knows of the step."""

    slot_mapping_T: torch.Tensor
    groups: tuple[RowGroup, ...]


class SpyreAttention(AttentionBackend[SpyreMetadata]):
    """Caches are [blocks, 64, K, D]; block 0 is padding."""

    supported_dtypes = ("float16", "bfloat16", "float32")
    block_size_multiple = BLOCK_TOKENS

    def kv_cache_shapes(
        self, num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> tuple[tuple[int, ...], ...]:
        """Keys, values."""
        shape = (num_blocks, block_size, num_kv_heads, head_size)
        return shape, shape

    def clear_blocks(self, kv_cache: tuple[torch.Tensor, ...], block_ids_A: torch.Tensor) -> None:
        """Nothing: `forward` replaces by zero what no token of the row has written."""

    def build_metadata(self, batch: AttentionBatch) -> SpyreMetadata:
        """Host arrays in, tensors out; no loop over decode rows."""
        groups = []
        if batch.num_decode_rows:
            rows_R = np.arange(batch.num_decode_rows)
            last_R = batch.seq_lens_N[rows_R] - 1
            groups.append(self._group(batch, rows_R, (last_R + _padding(batch, rows_R))[:, None]))
        groups += [self._chunk(batch, row) for row in range(batch.num_decode_rows, len(batch.seq_lens_N))]
        return SpyreMetadata(self._to_device(batch.slot_mapping_T), tuple(groups))

    def forward(
        self,
        q_THD: torch.Tensor,
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        kv_cache: tuple[torch.Tensor, ...],
        metadata: SpyreMetadata,
        spec: AttentionSpec,
    ) -> torch.Tensor:
        """Store, then attend group by group; tokens of no group come out as zeros."""
        k_cache, v_cache = kv_cache
        _store(k_cache, k_TKD, metadata.slot_mapping_T)
        _store(v_cache, v_TKD, metadata.slot_mapping_T)
        parts, first = [], 0
        for group in metadata.groups:
            count = group.query_place_RQ.numel()
            parts.append(_attend(q_THD[first : first + count], k_cache, v_cache, group, spec))
            first += count
        if first < len(q_THD):
            parts.append(torch.zeros_like(q_THD[first:]))
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _chunk(self, batch: AttentionBatch, row: int) -> RowGroup:
        """A row of several tokens. With left padding it is alone and takes the padding tokens with it: its shape is the step's."""
        rows_R = np.array([row])
        start, end = (int(edge) for edge in batch.query_start_N1[row : row + 2])
        first_token, end_token = (start, end) if batch.left_padding_N is None else (0, len(batch.slot_mapping_T))
        first_place = int(batch.seq_lens_N[row]) - (end - start) + int(_padding(batch, rows_R)[0])
        place_Q = np.arange(first_token, end_token) - start + first_place
        return self._group(batch, rows_R, np.maximum(place_Q, 0)[None])

    def _group(self, batch: AttentionBatch, rows_R: np.ndarray, query_place_RQ: np.ndarray) -> RowGroup:
        """Columns past a row's last block hold stale ids by contract: they become block 0."""
        length_R, padding_R = batch.seq_lens_N[rows_R], _padding(batch, rows_R)
        block_RC = batch.block_table_NB[rows_R]
        if batch.left_padding_N is None:
            blocks_R = -(-length_R // batch.block_size)
            column_C = np.arange(blocks_R.max())
            block_RC = np.where(column_C < blocks_R[:, None], block_RC[:, : len(column_C)], 0)
        return RowGroup(*map(self._to_device, (block_RC, query_place_RQ, padding_R, padding_R + length_R)))

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        """A copy as int64: the batch's arrays are overwritten in the next step."""
        return torch.as_tensor(array.astype(np.int64), device=self.device)


def _padding(batch: AttentionBatch, rows_R: np.ndarray) -> np.ndarray:
    """Places before each row's first token."""
    if batch.left_padding_N is None:
        return np.zeros(len(rows_R), np.int64)
    padding_R: np.ndarray = batch.left_padding_N[rows_R].astype(np.int64) * batch.block_size
    return padding_R


def _store(cache: torch.Tensor, new_TKD: torch.Tensor, slot_mapping_T: torch.Tensor) -> None:
    """In place: the cache seen as one long list of places."""
    cache.flatten(0, 1).index_copy_(0, slot_mapping_T, new_TKD.to(cache.dtype))


def _attend(
    q_XHD: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, group: RowGroup, spec: AttentionSpec
) -> torch.Tensor:
    """The G heads of one key/value head become further queries: the keys are not copied per head."""
    (R, Q), (H, D), K = group.query_place_RQ.shape, q_XHD.shape[1:], spec.num_kv_heads
    place_L = torch.arange(group.block_RC.shape[1] * k_cache.shape[1], device=q_XHD.device)
    written_RL = (place_L >= group.first_place_R[:, None]) & (place_L < group.end_place_R[:, None])
    k_RKLD, v_RKLD = (_gather(cache, group.block_RC, written_RL).to(q_XHD.dtype) for cache in (k_cache, v_cache))
    mask_RQL = _visible(group.query_place_RQ[:, :, None], place_L, written_RL, spec.sliding_window)
    q_RKXD = q_XHD.reshape(R, Q, K, H // K, D).permute(0, 2, 3, 1, 4).reshape(R, K, H // K * Q, D)
    mask_R1XL = mask_RQL[:, None, None].expand(R, 1, H // K, Q, -1).reshape(R, 1, H // K * Q, -1)
    out_RKXD = _softmax_attention(q_RKXD, k_RKLD, v_RKLD, mask_R1XL, spec)
    return out_RKXD.reshape(R, K, H // K, Q, D).permute(0, 3, 1, 2, 4).reshape(R * Q, H, D)


def _gather(cache: torch.Tensor, block_RC: torch.Tensor, written_RL: torch.Tensor) -> torch.Tensor:
    """Each row's context as [R, K, L, D]; zero where no token of the row was written, since a masked NaN is still NaN."""
    context_XSKD = cache.index_select(0, block_RC.flatten())
    context_RLKD = context_XSKD.reshape(block_RC.shape[0], -1, *cache.shape[2:])
    return context_RLKD.masked_fill(~written_RL[:, :, None, None], 0).transpose(1, 2)


def _visible(
    query_place_RQ1: torch.Tensor, place_L: torch.Tensor, written_RL: torch.Tensor, sliding_window: int | None
) -> torch.Tensor:
    """True where a query sees a key. A padding query sees its own place, which is zero: its softmax has something to divide by."""
    visible_RQL = (place_L <= query_place_RQ1) & written_RL[:, None]
    if sliding_window is not None:
        visible_RQL = visible_RQL & (place_L > query_place_RQ1 - sliding_window)
    return visible_RQL | (place_L == query_place_RQ1)


def _softmax_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, mask: torch.Tensor, spec: AttentionSpec
) -> torch.Tensor:
    """torch's own attention accumulates in fp32; it has no soft cap, so that case is written out, in fp32 too."""
    if spec.logits_soft_cap is None:
        return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=spec.scale)
    scores = torch.matmul(q.float(), k.float().transpose(-1, -2)) * spec.scale
    capped = spec.logits_soft_cap * torch.tanh(scores / spec.logits_soft_cap)
    weights = capped.masked_fill(~mask, float("-inf")).softmax(-1)
    return torch.matmul(weights, v.float()).to(q.dtype)
