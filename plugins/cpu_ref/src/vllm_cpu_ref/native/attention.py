"""Paged attention in one call of C++ per layer: nothing is gathered, nothing padded, and a row's result depends on that row alone.

Legend: T tokens, N rows, H query heads, K key/value heads, D head size, B block-table columns.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch

from vllm.attention.backends.abstract import AttentionBatch, AttentionSpec
from vllm_cpu_ref.attention import PagedMetadata, PagedTorchAttention
from vllm_cpu_ref.native.library import TYPES, kernels

__all__ = ["NativeMetadata", "NativePagedAttention"]


class NativeMetadata(NamedTuple):
    """The step's geometry as the kernel reads it."""

    slot_mapping_T: torch.Tensor
    query_start_N1: torch.Tensor
    """int64; without padding on the left, which no CPU asks for."""
    seq_lens_N: torch.Tensor
    """int64."""
    block_table_NB: torch.Tensor
    """int32, with as many columns as the longest row has blocks."""


class NativePagedAttention(PagedTorchAttention):
    """`PagedTorchAttention` with a kernel; where that is missing, it is its parent."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self.kernels = kernels()

    def kv_cache_shapes(
        self, num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> tuple[tuple[int, ...], ...]:
        """Keys lie across, [blocks, K, D, block_size], values along, [blocks, K, block_size, D]: see kernels/attention.h."""
        if self.kernels is None:
            return super().kv_cache_shapes(num_blocks, block_size, num_kv_heads, head_size)
        heads = (num_blocks, num_kv_heads)
        return (*heads, head_size, block_size), (*heads, block_size, head_size)

    def build_metadata(self, batch: AttentionBatch) -> Any:
        """Copies: the batch's arrays are overwritten in the next step."""
        if self.kernels is None:
            return super().build_metadata(batch)
        torch.get_num_threads()  # asked, torch gives its number to OpenMP in this thread, which else begins with one per core
        num_columns = -(-int(batch.seq_lens_N.max(initial=1)) // batch.block_size)
        return NativeMetadata(
            torch.from_numpy(batch.slot_mapping_T.astype(np.int64)),
            torch.from_numpy(batch.query_start_N1.astype(np.int64)),
            torch.from_numpy(batch.seq_lens_N.astype(np.int64)),
            torch.from_numpy(np.array(batch.block_table_NB[:, :num_columns], np.int32, order="C")),
        )

    def forward(
        self,
        q_THD: torch.Tensor,
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        kv_cache: tuple[torch.Tensor, ...],
        metadata: Any,
        spec: AttentionSpec,
    ) -> torch.Tensor:
        """One layer: store, then attend."""
        if isinstance(metadata, PagedMetadata):
            return super().forward(q_THD, k_TKD, v_TKD, kv_cache, metadata, spec)
        window, cap = spec.sliding_window or 0, spec.logits_soft_cap or 0.0
        return _attention(q_THD, k_TKD, v_TKD, *kv_cache, *metadata, spec.scale, window, cap)

    def clear_blocks(self, kv_cache: tuple[torch.Tensor, ...], block_ids_A: torch.Tensor) -> None:
        """Nothing: what the kernel reads beside what was written, it drops."""
        if self.kernels is None:
            super().clear_blocks(kv_cache, block_ids_A)


def _attend(
    q_THD: torch.Tensor,
    k_TKD: torch.Tensor,
    v_TKD: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    slot_mapping_T: torch.Tensor,
    query_start_N1: torch.Tensor,
    seq_lens_N: torch.Tensor,
    block_table_NB: torch.Tensor,
    scale: float,
    window: int,
    cap: float,
) -> torch.Tensor:
    """The kernel's call. Everything it takes on trust is made so here: one dtype, the cache's, and heads of dense numbers."""
    dtype = q_THD.dtype
    q_THD, k_TKD, v_TKD = (_dense_heads(each, k_cache.dtype) for each in (q_THD, k_TKD, v_TKD))
    _, H, D = q_THD.shape
    num_rows, num_columns = block_table_NB.shape
    out_THD = q_THD.new_empty(q_THD.shape)
    module = kernels()
    assert module is not None
    module.attention(
        TYPES[k_cache.dtype], out_THD.data_ptr(),
        q_THD.data_ptr(), q_THD.stride(0), q_THD.stride(1),
        k_TKD.data_ptr(), k_TKD.stride(0), k_TKD.stride(1),
        v_TKD.data_ptr(), v_TKD.stride(0), v_TKD.stride(1),
        k_cache.data_ptr(), v_cache.data_ptr(),
        slot_mapping_T.data_ptr(), query_start_N1.data_ptr(), seq_lens_N.data_ptr(),
        block_table_NB.data_ptr(), num_columns, len(slot_mapping_T), num_rows,
        H, k_TKD.shape[1], D, v_cache.shape[2], scale, window, cap,
    )  # fmt: skip
    return out_THD.to(dtype)


def _dense_heads(x_THD: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    x_THD = x_THD.to(dtype)
    return x_THD if x_THD.stride(-1) == 1 else x_THD.contiguous()


_OP = torch.library.custom_op("vllm_cpu_ref::paged_attention", _attend, mutates_args=("k_cache", "v_cache"))
"""The same as an op that `torch.compile` knows; called directly it would cost more than the kernel of a small step."""


@_OP.register_fake
def _shape_only(q_THD: torch.Tensor, *_: Any) -> torch.Tensor:
    return q_THD.new_empty(q_THD.shape)


def _attention(*args: Any) -> torch.Tensor:
    return _OP(*args) if torch.compiler.is_compiling() else _attend(*args)
