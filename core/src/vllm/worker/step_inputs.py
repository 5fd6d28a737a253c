"""Owns the way from a plan to one step's inputs: rows reordered (decodes first), padded to buckets, as arrays and device tensors.

No Python per row: everything is indexing by slot. A step of decodes alone takes the short way.

Legend: N rows (padded: P), T tokens (padded too), S slots, M sampling rows, Q prompt tokens whose log-probabilities are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vllm.attention.backends.abstract import AttentionBatch
from vllm.worker.kv_cache_spec import NULL_BLOCK
from vllm.worker.step_shapes import StepShape

if TYPE_CHECKING:
    from vllm.messages import Int32Array, Int64Array, StepPlan
    from vllm.platforms.constraints import SchedulingConstraints
    from vllm.worker.persistent_batch import PersistentBatch
    from vllm.worker.prompt_scores import PromptStretch

__all__ = ["InputBuilder", "StepInputs", "StepRows"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StepRows:
    """The plan's rows in batch order: rows of one token first."""

    slots_N: Int32Array
    first_position_N: Int64Array
    count_N: Int64Array
    samples_N: np.ndarray
    num_decode_rows: int
    """Leading rows of one token."""
    query_start_N1: Int32Array
    """First token of each row, and the end; it starts at the number of padding tokens on the left."""

    @property
    def num_tokens(self) -> int:
        """Without padding."""
        return int(self.query_start_N1[-1] - self.query_start_N1[0])

    @property
    def is_decode_only(self) -> bool:
        """Every row has one token."""
        return self.num_decode_rows == len(self.slots_N)

    def context_lengths(self) -> Int32Array:
        """[N] tokens of context after the step."""
        return (self.first_position_N + self.count_N).astype(np.int32)


@dataclass(frozen=True, kw_only=True, slots=True)
class StepInputs:
    """What `forward` and `sample` need. Tensors lie on the device."""

    step: int
    shape: StepShape
    """With padding."""
    num_tokens: int
    """Without padding."""
    slots_N: Int32Array
    """All rows, batch order."""
    input_ids_T: torch.Tensor
    positions_T: torch.Tensor
    metadata: Any
    """The attention backend's."""
    captured_rows: int | None
    """Bucket of the captured forward to replay; None = run eagerly."""
    logits_index: torch.Tensor | slice
    """Of the tokens, those whose hidden states are needed: sampling rows, then prompt tokens."""
    slots_M: Int32Array
    """Sampling rows, batch order."""
    position_M: Int64Array
    """Index in the sequence of the token to sample."""
    prompt_stretches: tuple[PromptStretch, ...]
    grammar_slots_G: Int32Array


def order_rows(plan: StepPlan) -> StepRows:
    """Decodes first, otherwise the plan's order."""
    num_rows = len(plan.slots_N)
    if plan.total_tokens == num_rows:
        return StepRows(
            slots_N=plan.slots_N,
            first_position_N=plan.num_computed_N.astype(np.int64),
            count_N=np.ones(num_rows, np.int64),
            samples_N=plan.samples_N,
            num_decode_rows=num_rows,
            query_start_N1=np.arange(num_rows + 1, dtype=np.int32),
        )
    order_N = np.argsort(plan.num_scheduled_N > 1, kind="stable")
    count_N = plan.num_scheduled_N[order_N].astype(np.int64)
    return StepRows(
        slots_N=plan.slots_N[order_N],
        first_position_N=plan.num_computed_N[order_N].astype(np.int64),
        count_N=count_N,
        samples_N=plan.samples_N[order_N],
        num_decode_rows=int((count_N == 1).sum()),
        query_start_N1=np.concatenate([[0], np.cumsum(count_N)]).astype(np.int32),
    )


class InputBuilder:
    """Builds token ids, positions and attention geometry of a step."""

    def __init__(
        self,
        batch: PersistentBatch,
        constraints: SchedulingConstraints,
        device: torch.device,
        captured_sizes: tuple[int, ...] = (),
        *,
        pins_memory: bool = False,
    ) -> None:
        """`pins_memory`: copies to the device go by way of pinned memory, and nothing waits for them."""
        self._batch = batch
        self._pins_memory = pins_memory
        self._constraints = constraints
        self._captured_sizes = captured_sizes
        self._device = device
        self.last_token_S = torch.zeros(len(batch.num_prompt_S), dtype=torch.int64, device=device)
        """The newest sampled token of every slot, kept where the next step reads it."""

    def lay_out(self, rows: StepRows) -> StepRows:
        """The rows, moved behind their left padding: then the last row's last token stands in the last block of the padded step,
        at its place in the block, so that padding on the left is whole blocks and the keys of a chunk fill whole blocks.
        """
        if self._constraints.padding_side == "right" or rows.is_decode_only:
            return rows
        end_position = int(rows.first_position_N[-1] + rows.count_N[-1])
        padding = self.padded_tokens(rows) - rows.num_tokens - -end_position % self._batch.block_size
        return replace(rows, query_start_N1=rows.query_start_N1 + np.int32(max(0, padding)))

    def tokens(self, rows: StepRows) -> tuple[Int32Array, Int64Array]:
        """(slot, position) of each token of the step, unpadded."""
        if rows.is_decode_only:
            return rows.slots_N, rows.first_position_N
        before_N = rows.query_start_N1[:-1] - rows.query_start_N1[0]
        offset_T = np.arange(rows.num_tokens) - np.repeat(before_N, rows.count_N)
        return np.repeat(rows.slots_N, rows.count_N), np.repeat(rows.first_position_N, rows.count_N) + offset_T

    def input_ids(self, rows: StepRows, slots_T: Int32Array, position_T: Int64Array, num_padded: int) -> torch.Tensor:
        """Known tokens from the host; tokens that were sampled here from the device."""
        last_position_N = rows.first_position_N + rows.count_N - 1
        sampled_N = last_position_N >= self._batch.num_arrived_S[rows.slots_N]
        if rows.is_decode_only and num_padded == len(slots_T) and sampled_N.all():
            return self.last_token_S.index_select(0, self.to_device(rows.slots_N))
        ids_T = _padded(rows, self._batch.token_ids_SL[slots_T, position_T].astype(np.int64), num_padded)
        input_ids_T = self.to_device(ids_T)
        from_device_N = np.flatnonzero(sampled_N)
        if len(from_device_N):
            target = self.to_device(rows.query_start_N1[1:][from_device_N] - 1).long()
            source = self.to_device(rows.slots_N[from_device_N])
            input_ids_T.index_copy_(0, target, self.last_token_S.index_select(0, source))
        return input_ids_T

    def attention_batch(
        self, rows: StepRows, slots_T: Int32Array, position_T: Int64Array, num_padded: int
    ) -> AttentionBatch:
        """Geometry of the step. Padded decode rows are rows of one token in the null block; padded tokens belong to no row."""
        seq_lens_N, block_size = rows.context_lengths(), self._batch.block_size
        columns = self._columns(int(seq_lens_N.max()), 0 if rows.is_decode_only else num_padded)
        slot_mapping_T = self._batch.cache_slots(slots_T, position_T)
        query_start_N1, num_decode_rows = rows.query_start_N1, rows.num_decode_rows
        missing = num_padded - len(slots_T)
        if missing:
            slot_mapping_T = _with_null_slots(rows, slot_mapping_T, num_padded, block_size)
        if missing and rows.is_decode_only:
            query_start_N1 = np.arange(num_padded + 1, dtype=np.int32)
            seq_lens_N = np.concatenate([seq_lens_N, np.ones(missing, np.int32)])
            num_decode_rows = num_padded
        block_table_NB, left_padding_N = self._block_table(rows.slots_N, seq_lens_N, columns)
        return AttentionBatch(
            query_start_N1=query_start_N1,
            seq_lens_N=seq_lens_N,
            block_table_NB=block_table_NB,
            slot_mapping_T=slot_mapping_T,
            num_decode_rows=num_decode_rows,
            block_size=block_size,
            left_padding_N=left_padding_N,
        )

    def _columns(self, longest_tokens: int, chunk_tokens: int) -> int:
        """Of the block table. A chunk that is padded on the left reaches back over as many columns as it has blocks."""
        if self._constraints.padding_side == "left":
            longest_tokens = max(longest_tokens, chunk_tokens)
        return self._constraints.bucket_context(longest_tokens, self._batch.block_size) // self._batch.block_size

    def _block_table(
        self, slots_N: Int32Array, seq_lens_N: Int32Array, columns: int
    ) -> tuple[Int32Array, Int32Array | None]:
        """(table, left padding) of the rows; those past `slots_N` are padding and lie in the null block."""
        if self._constraints.padding_side == "right":
            known_NB = self._batch.block_table_SB[slots_N, :columns]
            if known_NB.shape == (len(seq_lens_N), columns):
                return known_NB, None
        table_NB = np.full((len(seq_lens_N), columns), NULL_BLOCK, np.int32)
        if self._constraints.padding_side == "right":
            table_NB[: len(slots_N), : known_NB.shape[1]] = known_NB
            return table_NB, None
        padding_N = (columns - -(-seq_lens_N // self._batch.block_size)).astype(np.int32)
        column_NB = np.arange(columns) - padding_N[: len(slots_N), None]
        table_NB[: len(slots_N)] = np.where(
            column_NB < 0, NULL_BLOCK, self._batch.block_table_SB[slots_N[:, None], np.maximum(column_NB, 0)]
        )
        return table_NB, padding_N

    def padded_tokens(self, rows: StepRows) -> int:
        """Tokens of the step after padding to the device's bucket."""
        total_tokens = rows.num_tokens
        if not rows.is_decode_only:
            return self._constraints.bucket_tokens(total_tokens)
        if self._constraints.decode_batch_buckets:
            return self._constraints.bucket_rows(total_tokens)
        return next((size for size in self._captured_sizes if size >= total_tokens), total_tokens)

    def captured_rows(self, rows: StepRows, num_padded: int) -> int | None:
        """The recording that fits the step, if there is one."""
        return num_padded if rows.is_decode_only and num_padded in self._captured_sizes else None

    def positions(self, rows: StepRows, position_T: Int64Array, num_padded: int) -> torch.Tensor:
        """int64; padding stands at position 0."""
        return self.to_device(position_T if num_padded == len(position_T) else _padded(rows, position_T, num_padded))

    def keep_last_tokens(self, slots_M: Int32Array, tokens_M: torch.Tensor) -> None:
        """Remember the sampled tokens for the next step, on the device."""
        self.last_token_S.index_copy_(0, self.to_device(slots_M).long(), tokens_M)

    def to_device(self, array: np.ndarray) -> torch.Tensor:
        """A tensor of the array; on the host itself it shares the array's memory. Pinned memory is kept by torch until it was read."""
        host = torch.from_numpy(np.ascontiguousarray(array))
        return host.pin_memory().to(self._device, non_blocking=True) if self._pins_memory else host.to(self._device)


def _padded(rows: StepRows, values_T: np.ndarray, num_padded: int) -> np.ndarray:
    """The tokens' values at their places in the padded step; 0 elsewhere."""
    first = int(rows.query_start_N1[0])
    padded_T = np.zeros(num_padded, values_T.dtype)
    padded_T[first : first + len(values_T)] = values_T
    return padded_T


def _with_null_slots(rows: StepRows, slot_mapping_T: Int64Array, num_padded: int, block_size: int) -> Int64Array:
    """Padding writes its keys and values into the null block."""
    first = int(rows.query_start_N1[0])
    padding = NULL_BLOCK * block_size + np.arange(num_padded - len(slot_mapping_T)) % block_size
    return np.concatenate([padding[:first], slot_mapping_T, padding[first:]])
