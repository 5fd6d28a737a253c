"""Owns the running requests' state on the worker's host side, by slot: known tokens, block tables, prompt lengths.

Allocated once; a plan carries only what changed. A row of a slot that is not in use holds stale values which nobody reads.

Legend: S slots, L positions, B block-table columns, N rows, A appended blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, overload

import numpy as np

from vllm.worker.kv_cache_spec import NULL_BLOCK

if TYPE_CHECKING:
    from vllm.messages import Int32Array, Int64Array, NewSlot, StepPlan

__all__ = ["OutputView", "PersistentBatch"]


class PersistentBatch:
    """Arrays indexed by slot."""

    def __init__(self, num_slots: int, max_model_len: int, block_size: int) -> None:
        self.block_size = block_size
        # np.zeros takes untouched pages from the system: memory is used only as contexts grow into it.
        self.token_ids_SL = np.zeros((num_slots, max_model_len + 1), np.int32)
        self.block_table_SB = np.full((num_slots, -(-max_model_len // block_size) + 1), NULL_BLOCK, np.int32)
        self.request_id_S = [""] * num_slots
        """For errors that name a request."""
        self.num_prompt_S = np.zeros(num_slots, np.int64)
        self.num_arrived_S = np.zeros(num_slots, np.int64)
        """Tokens known when the request took its slot; those after it were sampled here and lie on the device."""

        self.num_known_S = np.zeros(num_slots, np.int64)
        """Tokens known by now."""

    def apply(self, plan: StepPlan) -> None:
        """Take over the plan's new slots and appended blocks. Freed slots need nothing: their rows are overwritten or unread."""
        for new in plan.new:
            self._add(new)
        self.block_table_SB[plan.appended_slots_A, plan.appended_index_A] = plan.appended_block_ids_A

    def _add(self, new: NewSlot) -> None:
        slot, known = new.slot, len(new.token_ids)
        self.request_id_S[slot] = new.request_id
        self.token_ids_SL[slot, :known] = new.token_ids
        self.block_table_SB[slot, : len(new.block_ids)] = new.block_ids
        self.num_prompt_S[slot] = new.num_prompt_tokens
        self.num_arrived_S[slot] = self.num_known_S[slot] = known

    def record(self, slots_N: Int32Array, position_N: Int64Array, token_N: Int64Array) -> None:
        """Sampled tokens join the known ones."""
        self.token_ids_SL[slots_N, position_N] = token_N
        self.num_known_S[slots_N] = position_N + 1

    def outputs_of(self, slot: int) -> OutputView:
        """The tokens generated for the slot's request, as they grow."""
        return OutputView(self, slot)

    def cache_slots(self, slots_T: Int32Array, position_T: Int64Array) -> Int64Array:
        """Where each token's key and value go: block × block size + offset."""
        column_T, offset_T = np.divmod(position_T, self.block_size)
        return self.block_table_SB[slots_T, column_T].astype(np.int64) * self.block_size + offset_T


class OutputView(Sequence[int]):
    """A slot's output tokens, read when they are asked for: custom logits processors keep it while their request runs."""

    def __init__(self, batch: PersistentBatch, slot: int) -> None:
        self._batch = batch
        self._slot = slot

    def __len__(self) -> int:
        return int(self._batch.num_known_S[self._slot] - self._batch.num_prompt_S[self._slot])

    @overload
    def __getitem__(self, index: int) -> int: ...

    @overload
    def __getitem__(self, index: slice) -> list[int]: ...

    def __getitem__(self, index: int | slice) -> int | list[int]:
        return self._tokens()[index]

    def __iter__(self) -> Iterator[int]:
        return iter(self._tokens())

    def _tokens(self) -> list[int]:
        start, end = self._batch.num_prompt_S[self._slot], self._batch.num_known_S[self._slot]
        tokens: list[int] = self._batch.token_ids_SL[self._slot, start:end].tolist()
        return tokens
