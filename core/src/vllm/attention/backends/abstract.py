"""The AttentionBackend contract: where keys and values live, and attention over them. One call per layer.

Legend: T tokens of the step, N rows, B block-table columns, H query heads, K key/value heads, D head size (heads on this rank).
"""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

if TYPE_CHECKING:
    import torch

    from vllm.messages import Int32Array, Int64Array

__all__ = ["AttentionBackend", "AttentionBatch", "AttentionSpec"]

MetadataT = TypeVar("MetadataT")


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionSpec:
    """What is fixed for one layer, on one rank."""

    num_heads: int
    num_kv_heads: int
    head_size: int
    scale: float
    """Scores are q·k × scale."""
    sliding_window: int | None = None
    """A query at position p sees keys p - window + 1 … p; None = 0 … p."""
    logits_soft_cap: float | None = None
    """Scores become cap × tanh(score / cap) before the mask."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AttentionBatch:
    """One step's geometry on the host. Rows are in batch order; row n owns tokens query_start_N1[n] … query_start_N1[n+1]-1.

    The arrays belong to the runner and are overwritten in the next step: copy what must live longer.
    Row order promised: rows with one token first (decodes), then the others.
    """

    query_start_N1: Int32Array
    """[N + 1] running sum of the rows' token counts; it starts at the number of padding tokens on the left, usually 0."""
    seq_lens_N: Int32Array
    """[N] context length of each row after this step = computed + scheduled."""
    block_table_NB: Int32Array
    """[N, ≥ ceil(max(seq_lens) / block_size)] block ids; columns past a row's length hold stale ids: never read them."""
    slot_mapping_T: Int64Array
    """[T] where each token's key and value go: block_id × block_size + offset."""
    num_decode_rows: int
    """Leading rows that have exactly one token."""
    block_size: int
    left_padding_N: Int32Array | None = None
    """[N] leading columns of each row's block table that are padding (the null block), on platforms that ask for left padding: every
    row then ends in the last column. None: contexts begin in column 0."""


class AttentionBackend(abc.ABC, Generic[MetadataT]):
    """Created once per worker. `MetadataT` is the backend's own bundle of device tensors (a NamedTuple or a registered pytree).

    `forward` is traced together with the model (`torch.compile(fullgraph=True)`): it reads no Python state but the spec and the structure
    of the metadata, and never asks a tensor for its value.
    """

    supported_dtypes: ClassVar[tuple[str, ...]]
    """Names of the dtypes of q, k, v."""
    supported_head_sizes: ClassVar[tuple[int, ...] | None] = None
    """None = any."""
    block_size_multiple: ClassVar[int] = 1
    """KV blocks must be a multiple of this many tokens."""
    supports_sliding_window: ClassVar[bool] = True
    supports_logits_soft_cap: ClassVar[bool] = True

    def __init__(self, device: torch.device) -> None:
        self.device = device

    @abc.abstractmethod
    def kv_cache_shapes(
        self, num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> tuple[tuple[int, ...], ...]:
        """Shapes of one layer's cache tensors, usually (k_cache, v_cache). The runner allocates them once, zeroed."""

    @abc.abstractmethod
    def build_metadata(self, batch: AttentionBatch) -> MetadataT:
        """Everything `forward` needs to know of the step, as device tensors. Once per step, shared by all layers with the same window."""

    @abc.abstractmethod
    def forward(
        self,
        q_THD: torch.Tensor,
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        kv_cache: tuple[torch.Tensor, ...],
        metadata: MetadataT,
        spec: AttentionSpec,
    ) -> torch.Tensor:
        """Write k and v of the step into the cache, then attend causally over each row's whole context.

        All writes come before all reads: a row may share blocks that another row of the same step fills
        (equal prompts that start together).

        Args:
            q_THD, k_TKD, v_TKD: this step's tokens, rotary already applied; may be strided views.
            kv_cache: this layer's tensors, shaped by `kv_cache_shapes`; updated in place.
            metadata: what `build_metadata` gave for this step.
            spec: the layer's constants; H is a multiple of K, query head h reads kv head h // (H // K).

        Returns:
            out_THD, same dtype as q, owned by the caller. Tokens past the last row (padding) may hold anything finite.
        """

    def clear_blocks(self, kv_cache: tuple[torch.Tensor, ...], block_ids_A: torch.Tensor) -> None:
        """Zero blocks of one layer's cache that a request has just got, int64 [A]. Called for each layer, before the step's `forward`.

        A backend that reads places no token was written to, and masks them, needs it: a masked NaN, left there by another request,
        is still NaN. One that reads nothing past a row's length overrides it with nothing. Default: dimension 0 of every tensor
        is the block.
        """
        for tensor in kv_cache:
            tensor.index_fill_(0, block_ids_A, 0)

    def profile_metadata(self, num_tokens: int) -> Any:
        """Metadata of a profiling step without a cache; None makes the attention layer return zeros instead of calling the backend."""
        del num_tokens
        return None
