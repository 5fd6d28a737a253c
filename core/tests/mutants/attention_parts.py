"""Owns attention backends with one fault each: what they are told (layer, batch, tokens) is misread, or a duty is left out.

Legend: T tokens, N rows, Q queries per row, B block-table columns, H query heads, K key/value heads, G = H // K, D head size.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from vllm.attention.backends.abstract import AttentionBatch, AttentionSpec
from vllm_cpu_ref.attention import PagedMetadata, PagedTorchAttention, RowGroup, _attend, _store

Tokens = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class Misreading(PagedTorchAttention):
    """Sound but for what a subclass overrides: how the layer, the batch, or the tokens are read."""

    def spec(self, spec: AttentionSpec) -> AttentionSpec:
        return spec

    def batch(self, batch: AttentionBatch) -> AttentionBatch:
        return batch

    def tokens(self, q_THD: torch.Tensor, k_TKD: torch.Tensor, v_TKD: torch.Tensor) -> Tokens:
        return q_THD, k_TKD, v_TKD

    def build_metadata(self, batch: AttentionBatch) -> PagedMetadata:
        return super().build_metadata(self.batch(batch))

    def forward(
        self,
        q_THD: torch.Tensor,
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        kv_cache: tuple[torch.Tensor, ...],
        metadata: PagedMetadata,
        spec: AttentionSpec,
    ) -> torch.Tensor:
        return super().forward(*self.tokens(q_THD, k_TKD, v_TKD), kv_cache, metadata, self.spec(spec))


# -- the layer is misread


class OwnScale(Misreading):
    def spec(self, spec: AttentionSpec) -> AttentionSpec:
        return replace(spec, scale=spec.head_size**-0.5)


class NoCap(Misreading):
    def spec(self, spec: AttentionSpec) -> AttentionSpec:
        return replace(spec, logits_soft_cap=None)


class WideWindow(Misreading):
    def spec(self, spec: AttentionSpec) -> AttentionSpec:
        return replace(spec, sliding_window=spec.sliding_window and spec.sliding_window + 1)


class NarrowWindow(Misreading):
    def spec(self, spec: AttentionSpec) -> AttentionSpec:
        return replace(spec, sliding_window=spec.sliding_window and max(1, spec.sliding_window - 1))


class RaisesOnWindow(Misreading):
    def spec(self, spec: AttentionSpec) -> AttentionSpec:
        if spec.sliding_window is not None:
            raise NotImplementedError("no kernel for windows")
        return spec


class FirstLayersSpec(Misreading):
    first: AttentionSpec | None = None

    def batch(self, batch: AttentionBatch) -> AttentionBatch:
        self.first = None
        return batch

    def spec(self, spec: AttentionSpec) -> AttentionSpec:
        self.first = self.first or spec
        return self.first


# -- the batch is misread


class SwappedBlocks(Misreading):
    def batch(self, batch: AttentionBatch) -> AttentionBatch:
        table_NB = batch.block_table_NB.copy()
        table_NB[:, :2] = table_NB[:, :2][:, ::-1]
        return replace(batch, block_table_NB=table_NB)


class NeighboursTable(Misreading):
    def batch(self, batch: AttentionBatch) -> AttentionBatch:
        return replace(batch, block_table_NB=np.roll(batch.block_table_NB, 1, axis=0))


class ConsecutiveBlocks(Misreading):
    def batch(self, batch: AttentionBatch) -> AttentionBatch:
        table_NB = batch.block_table_NB[:, :1] + np.arange(batch.block_table_NB.shape[1], dtype=np.int32)
        return replace(batch, block_table_NB=np.minimum(table_NB, batch.block_table_NB.max()))


class WrappedRows(Misreading):
    def batch(self, batch: AttentionBatch) -> AttentionBatch:
        return replace(batch, block_table_NB=batch.block_table_NB[np.arange(len(batch.block_table_NB)) % 32])


def _decodes_see(batch: AttentionBatch, context_N: np.ndarray) -> AttentionBatch:
    """Decode rows take `context_N` tokens for theirs."""
    is_decode_N = np.arange(len(batch.seq_lens_N)) < batch.num_decode_rows
    return replace(batch, seq_lens_N=np.where(is_decode_N, context_N, batch.seq_lens_N).astype(np.int32))


class WholeLastBlock(Misreading):
    def batch(self, batch: AttentionBatch) -> AttentionBatch:
        return _decodes_see(batch, -(-batch.seq_lens_N // batch.block_size) * batch.block_size)


class WholeTable(Misreading):
    def batch(self, batch: AttentionBatch) -> AttentionBatch:
        return _decodes_see(batch, np.full_like(batch.seq_lens_N, batch.block_table_NB.shape[1] * batch.block_size))


class ForgetsContext(Misreading):
    def batch(self, batch: AttentionBatch) -> AttentionBatch:
        lengths_N = batch.seq_lens_N.copy()
        lengths_N[batch.num_decode_rows :] = np.diff(batch.query_start_N1)[batch.num_decode_rows :]
        return replace(batch, seq_lens_N=lengths_N)


class PaddingInBlockOne(Misreading):
    def batch(self, batch: AttentionBatch) -> AttentionBatch:
        slot_T = batch.slot_mapping_T
        return replace(batch, slot_mapping_T=np.where(slot_T < batch.block_size, slot_T + batch.block_size, slot_T))


class LooksAhead(PagedTorchAttention):
    def _group(self, batch: AttentionBatch, token_NQ: Any, row_N: Any, position_NQ: Any) -> RowGroup:
        if position_NQ.shape[1] > 1 and position_NQ[0, 0] > 0:
            position_NQ = np.broadcast_to(position_NQ[:, -1:], position_NQ.shape)
        return super()._group(batch, token_NQ, row_N, position_NQ)


class KeepsViews(PagedTorchAttention):
    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(array)


class KeepsMetadata(PagedTorchAttention):
    def build_metadata(self, batch: AttentionBatch) -> PagedMetadata:
        metadata = super().build_metadata(batch)
        if batch.num_decode_rows < len(batch.seq_lens_N):
            return metadata
        kept: dict[int, tuple[RowGroup, ...]] = self.__dict__.setdefault("kept", {})
        return metadata._replace(groups=kept.setdefault(len(batch.slot_mapping_T), metadata.groups))


# -- the tokens are misread


class MixedHeads(Misreading):
    def forward(self, q_THD: torch.Tensor, *others: Any) -> torch.Tensor:
        spec = others[-1]
        K, G = spec.num_kv_heads, spec.num_heads // spec.num_kv_heads
        out_THD = super().forward(q_THD.unflatten(1, (G, K)).transpose(1, 2).flatten(1, 2), *others)
        return out_THD.unflatten(1, (K, G)).transpose(1, 2).flatten(1, 2)


class KeysOneLate(Misreading):
    def tokens(self, q_THD: torch.Tensor, k_TKD: torch.Tensor, v_TKD: torch.Tensor) -> Tokens:
        return q_THD, k_TKD.roll(1, 0), v_TKD


class LosesLastValue(Misreading):
    def tokens(self, q_THD: torch.Tensor, k_TKD: torch.Tensor, v_TKD: torch.Tensor) -> Tokens:
        return q_THD, k_TKD, torch.cat([v_TKD[:-1], torch.zeros_like(v_TKD[-1:])])


class SixteenBitCache(Misreading):
    def tokens(self, q_THD: torch.Tensor, k_TKD: torch.Tensor, v_TKD: torch.Tensor) -> Tokens:
        return q_THD, k_TKD.bfloat16().to(k_TKD), v_TKD.bfloat16().to(v_TKD)


class TakesThemForContiguous(Misreading):
    def tokens(self, q_THD: torch.Tensor, k_TKD: torch.Tensor, v_TKD: torch.Tensor) -> Tokens:
        q_THD, k_TKD, v_TKD = (
            torch.as_strided(x, x.shape, (x.shape[1] * x.shape[2], x.shape[2], 1)) for x in (q_THD, k_TKD, v_TKD)
        )
        return q_THD, k_TKD, v_TKD


# -- duties of the call


class WritesGroupByGroup(PagedTorchAttention):
    def forward(self, q_THD: Any, k_TKD: Any, v_TKD: Any, kv_cache: Any, metadata: Any, spec: Any) -> torch.Tensor:
        out_THD = torch.zeros_like(q_THD, memory_format=torch.contiguous_format)
        for group in metadata.groups:
            token_T = group.token_NQ.flatten()
            for cache, new_TKD in zip(kv_cache, (k_TKD, v_TKD), strict=True):
                _store(cache, new_TKD[token_T], metadata.slot_mapping_T[token_T])
            out_THD[group.token_NQ] = _attend(q_THD[group.token_NQ], kv_cache[0], kv_cache[1], group, spec)
        return out_THD


class ReusesOutput(Misreading):
    def forward(self, *arguments: Any) -> torch.Tensor:
        out_THD = super().forward(*arguments)
        buffers: dict[Any, torch.Tensor] = self.__dict__.setdefault("buffers", {})
        whole = buffers.setdefault(out_THD.shape[1:], out_THD.new_zeros(1024, *out_THD.shape[1:]))
        return whole[: len(out_THD)].copy_(out_THD)


class StopsAt256(Misreading):
    def forward(self, *arguments: Any) -> torch.Tensor:
        out_THD = super().forward(*arguments)
        out_THD[256:] = 0
        return out_THD


class AsksATensor(Misreading):
    def forward(self, *arguments: Any) -> torch.Tensor:
        if arguments[4].slot_mapping_T.max().item() < 0:
            raise ValueError("no token goes anywhere")
        return super().forward(*arguments)


class ClearsNothing(PagedTorchAttention):
    def clear_blocks(self, kv_cache: tuple[torch.Tensor, ...], block_ids_A: torch.Tensor) -> None:
        del kv_cache, block_ids_A


class OneBlockMore(PagedTorchAttention):
    def kv_cache_shapes(
        self, num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> tuple[tuple[int, ...], ...]:
        return super().kv_cache_shapes(num_blocks + 1, block_size, num_kv_heads, head_size)


class NoFloat32(PagedTorchAttention):
    supported_dtypes = ("bfloat16", "float16")  # type: ignore[assignment]


# -- fixed shapes, padded on the left


class ReadsPastThePadding(Misreading):
    """Sound: turns a batch padded on the left into one that begins in column 0."""

    extra = 0

    def batch(self, batch: AttentionBatch) -> AttentionBatch:
        if batch.left_padding_N is None:
            return batch
        columns = batch.block_table_NB.shape[1]
        column_NB = np.arange(columns) + np.where(batch.left_padding_N, batch.left_padding_N + self.extra, 0)[:, None]
        table_NB = np.take_along_axis(batch.block_table_NB, np.minimum(column_NB, columns - 1), axis=1)
        return replace(batch, block_table_NB=table_NB, left_padding_N=None)


class PadsOneColumnTooMuch(ReadsPastThePadding):
    extra = 1
