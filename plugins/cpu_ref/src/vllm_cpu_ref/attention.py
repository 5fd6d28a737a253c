"""Paged attention in plain torch: write this step's keys and values into the cache, gather each row's context, attend.

The shortest correct backend, and the oracle for faster ones. The step's rows are cut into *groups*: rows of a group have the same (padded)
number of queries and of blocks, so that one call of torch's attention serves the whole group.

Legend: T tokens of the step, N rows of a group, Q queries per row, L context tokens (padded to whole blocks), B blocks per row,
H query heads, K key/value heads, G = H // K query heads that share one key/value head, D head size.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch.nn.functional import scaled_dot_product_attention

from vllm.attention.backends.abstract import AttentionBackend, AttentionBatch, AttentionSpec

__all__ = ["PagedMetadata", "PagedTorchAttention", "RowGroup"]

MAX_QUERIES_PER_GROUP = 256
"""A long prefill is cut into tiles of this many queries: its mask stays small, and a tile reads no keys past its own end."""
MAX_ROWS_PER_GROUP = 32
"""Many decode rows are cut into tiles too: what a tile gathers is still in the CPU's own cache when it is attended."""


class RowGroup(NamedTuple):
    """Rows that are attended together. Tensors only, so that `torch.compile` can trace through it."""

    token_NQ: torch.Tensor
    """Index into the step's tokens of each query."""
    block_NB: torch.Tensor
    """Blocks of each row's context, in order of position. Past a row's end: the null block, which the mask hides."""
    query_position_NQ1: torch.Tensor
    """Position in the sequence of each query; a query sees the keys at 0 … its own position."""


class PagedMetadata(NamedTuple):
    """What `forward` knows of the step; built once, used by every layer."""

    slot_mapping_T: torch.Tensor
    """Where each token's key and value go: block × block size + offset."""
    groups: tuple[RowGroup, ...]


class PagedTorchAttention(AttentionBackend[PagedMetadata]):
    """Keys and values lie in blocks: k_cache and v_cache are [blocks, block_size, K, D]."""

    supported_dtypes = ("float32", "bfloat16", "float16")

    def kv_cache_shapes(
        self, num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> tuple[tuple[int, ...], ...]:
        """One tensor for keys, one for values. The runner allocates them, zeroed, once per layer."""
        shape = (num_blocks, block_size, num_kv_heads, head_size)
        return shape, shape

    def build_metadata(self, batch: AttentionBatch) -> PagedMetadata:
        """Host arrays in, device tensors out. Runs once per step, so the decode rows are handled without a loop over rows."""
        groups = [*self._decode_groups(batch), *self._prefill_groups(batch)]
        return PagedMetadata(self._to_device(batch.slot_mapping_T), tuple(groups))

    def forward(
        self,
        q_THD: torch.Tensor,
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        kv_cache: tuple[torch.Tensor, ...],
        metadata: PagedMetadata,
        spec: AttentionSpec,
    ) -> torch.Tensor:
        """One layer: store, then attend group by group. Tokens that belong to no group (padding) come out as zeros."""
        k_cache, v_cache = kv_cache
        _store(k_cache, k_TKD, metadata.slot_mapping_T)
        _store(v_cache, v_TKD, metadata.slot_mapping_T)
        out_THD = torch.zeros_like(q_THD, memory_format=torch.contiguous_format)
        for group in metadata.groups:
            out_THD[group.token_NQ] = _attend(q_THD[group.token_NQ], k_cache, v_cache, group, spec)
        return out_THD

    # -- how rows become groups -------------------------------------------------------------------------------------------------

    def _decode_groups(self, batch: AttentionBatch) -> list[RowGroup]:
        """Rows with one token, together with the others of about their length: padding at most doubles what a row reads."""
        blocks_N = -(-batch.seq_lens_N[: batch.num_decode_rows] // batch.block_size)
        size_class_N = np.ceil(np.log2(blocks_N)).astype(np.int64)
        classes = [np.flatnonzero(size_class_N == c) for c in np.unique(size_class_N)]
        tiles = (np.split(row_N, range(MAX_ROWS_PER_GROUP, len(row_N), MAX_ROWS_PER_GROUP)) for row_N in classes)
        return [self._decode_group(batch, row_N) for tile in tiles for row_N in tile]

    def _decode_group(self, batch: AttentionBatch, row_N: np.ndarray) -> RowGroup:
        last_N1 = batch.seq_lens_N[row_N, None] - 1  # a decode row's query is its last token
        return self._group(batch, batch.query_start_N1[row_N, None], row_N, last_N1)

    def _prefill_groups(self, batch: AttentionBatch) -> list[RowGroup]:
        """Each row with several tokens by itself, in tiles."""
        groups = []
        for row in range(batch.num_decode_rows, len(batch.seq_lens_N)):
            start, end = batch.query_start_N1[row : row + 2]
            first_position = batch.seq_lens_N[row] - (end - start)
            for tile in range(start, end, MAX_QUERIES_PER_GROUP):
                token_Q = np.arange(tile, min(tile + MAX_QUERIES_PER_GROUP, end))
                position_Q = first_position + token_Q - start
                groups.append(self._group(batch, token_Q[None], np.array([row]), position_Q[None]))
        return groups

    def _group(
        self, batch: AttentionBatch, token_NQ: np.ndarray, row_N: np.ndarray, position_NQ: np.ndarray
    ) -> RowGroup:
        """Columns past a row's last block hold stale ids by contract: they become the null block, 0."""
        blocks_N = position_NQ[:, -1] // batch.block_size + 1
        column_B = np.arange(blocks_N.max())
        block_NB = np.where(column_B < blocks_N[:, None], batch.block_table_NB[row_N, : len(column_B)], 0)
        return RowGroup(*map(self._to_device, (token_NQ, block_NB, position_NQ[:, :, None])))

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        """A copy as int64: the batch's arrays are overwritten in the next step."""
        return torch.as_tensor(array.astype(np.int64), device=self.device)


def _store(cache: torch.Tensor, new_TKD: torch.Tensor, slot_mapping_T: torch.Tensor) -> None:
    """In place: the cache seen as one long list of token slots."""
    cache.flatten(0, 1).index_copy_(0, slot_mapping_T, new_TKD.to(cache.dtype))


def _attend(
    q_NQHD: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, group: RowGroup, spec: AttentionSpec
) -> torch.Tensor:
    """Grouped queries without copies of the keys: the G heads of one key/value head are laid out as further queries."""
    (N, Q, H, D), K = q_NQHD.shape, spec.num_kv_heads
    k_NKLD, v_NKLD = (_gather(cache, group.block_NB).to(q_NQHD.dtype) for cache in (k_cache, v_cache))
    mask_NQL = _visible(group.query_position_NQ1, k_NKLD.shape[2], spec.sliding_window)
    q_NKXD = q_NQHD.view(N, Q, K, H // K, D).permute(0, 2, 3, 1, 4).reshape(N, K, H // K * Q, D)
    mask_N1XL = mask_NQL[:, None, None].expand(N, 1, H // K, Q, -1).reshape(N, 1, H // K * Q, -1)
    out_NKXD = _softmax_attention(q_NKXD, k_NKLD, v_NKLD, mask_N1XL, spec)
    return out_NKXD.view(N, K, H // K, Q, D).permute(0, 3, 1, 2, 4).reshape(N, Q, H, D)


def _gather(cache: torch.Tensor, block_NB: torch.Tensor) -> torch.Tensor:
    """Each row's context as one tensor [N, K, L, D]: the only copy of the cache that is made."""
    context_MX = cache.flatten(1).index_select(0, block_NB.flatten())  # torch copies rows of a table much faster
    return context_MX.view(block_NB.shape[0], -1, *cache.shape[2:]).transpose(1, 2)


def _visible(query_position_NQ1: torch.Tensor, num_keys: int, sliding_window: int | None) -> torch.Tensor:
    """True where a query sees a key: not after itself, and within the window if there is one."""
    key_position_L = torch.arange(num_keys, device=query_position_NQ1.device)
    visible_NQL = key_position_L <= query_position_NQ1
    if sliding_window is not None:
        visible_NQL &= key_position_L > query_position_NQ1 - sliding_window
    return visible_NQL


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
