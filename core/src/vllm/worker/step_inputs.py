"""Owns the way from a plan to one step's inputs: rows reordered (decodes first), padded to buckets, as arrays and device tensors.

No Python per row: everything is indexing by slot. A step of decodes alone takes the short way.

Legend: N rows (padded: P), T tokens (padded too), S slots, M sampling rows, Q prompt tokens whose log-probabilities are wanted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vllm.attention.backends.abstract import AttentionBatch
from vllm.worker.kv_cache_spec import NULL_BLOCK

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
    num_tokens: int
    """Without padding."""
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
    ) -> None:
        self._batch = batch
        self._constraints = constraints
        self._captured_sizes = captured_sizes
        self._device = device
        self.last_token_S = torch.zeros(len(batch.num_prompt_S), dtype=torch.int64, device=device)
        """The newest sampled token of every slot, kept where the next step reads it."""

    def tokens(self, rows: StepRows) -> tuple[Int32Array, Int64Array]:
        """(slot, position) of each token of the step, unpadded."""
        if rows.is_decode_only:
            return rows.slots_N, rows.first_position_N
        offset_T = np.arange(rows.query_start_N1[-1]) - np.repeat(rows.query_start_N1[:-1], rows.count_N)
        return np.repeat(rows.slots_N, rows.count_N), np.repeat(rows.first_position_N, rows.count_N) + offset_T

    def input_ids(self, rows: StepRows, slots_T: Int32Array, position_T: Int64Array, num_padded: int) -> torch.Tensor:
        """Known tokens from the host; tokens that were sampled here from the device."""
        last_position_N = rows.first_position_N + rows.count_N - 1
        sampled_N = last_position_N >= self._batch.num_arrived_S[rows.slots_N]
        if rows.is_decode_only and num_padded == len(slots_T) and sampled_N.all():
            return self.last_token_S.index_select(0, self.to_device(rows.slots_N))
        ids_T = np.zeros(num_padded, np.int64)
        ids_T[: len(slots_T)] = self._batch.token_ids_SL[slots_T, position_T]
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
        seq_lens_N = rows.context_lengths()
        num_columns = -(-int(seq_lens_N.max()) // self._batch.block_size)
        block_table_NB = self._batch.block_table_SB[rows.slots_N, :num_columns]
        slot_mapping_T = self._batch.cache_slots(slots_T, position_T)
        query_start_N1, num_decode_rows = rows.query_start_N1, rows.num_decode_rows
        missing = num_padded - len(slots_T)
        if missing:
            null_slots = NULL_BLOCK * self._batch.block_size + np.arange(missing) % self._batch.block_size
            slot_mapping_T = np.concatenate([slot_mapping_T, null_slots])
        if missing and rows.is_decode_only:
            query_start_N1 = np.arange(num_padded + 1, dtype=np.int32)
            seq_lens_N = np.concatenate([seq_lens_N, np.ones(missing, np.int32)])
            block_table_NB = np.concatenate([block_table_NB, np.full((missing, num_columns), NULL_BLOCK, np.int32)])
            num_decode_rows = num_padded
        return AttentionBatch(
            query_start_N1=query_start_N1,
            seq_lens_N=seq_lens_N,
            block_table_NB=block_table_NB,
            slot_mapping_T=slot_mapping_T,
            num_decode_rows=num_decode_rows,
            block_size=self._batch.block_size,
        )

    def padded_tokens(self, rows: StepRows) -> int:
        """Tokens of the step after padding to the device's bucket."""
        total_tokens = int(rows.query_start_N1[-1])
        if not rows.is_decode_only:
            return self._constraints.bucket_tokens(total_tokens)
        if self._constraints.decode_batch_buckets:
            return self._constraints.bucket_rows(total_tokens)
        return next((size for size in self._captured_sizes if size >= total_tokens), total_tokens)

    def captured_rows(self, rows: StepRows, num_padded: int) -> int | None:
        """The recording that fits the step, if there is one."""
        return num_padded if rows.is_decode_only and num_padded in self._captured_sizes else None

    def positions(self, position_T: Int64Array, num_padded: int) -> torch.Tensor:
        """int64; padding stands at position 0."""
        missing = num_padded - len(position_T)
        return self.to_device(np.pad(position_T, (0, missing)) if missing else position_T)

    def keep_last_tokens(self, slots_M: Int32Array, tokens_M: torch.Tensor) -> None:
        """Remember the sampled tokens for the next step, on the device."""
        self.last_token_S.index_copy_(0, self.to_device(slots_M).long(), tokens_M)

    def to_device(self, array: np.ndarray) -> torch.Tensor:
        """A tensor of the array; on the host itself it shares the array's memory."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)
