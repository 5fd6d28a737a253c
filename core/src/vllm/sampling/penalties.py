"""Owns repetition, frequency and presence penalties: tables of token counts for the slots that ask, kept on the device.

A table row is filled when a request takes its slot (again after a preemption) and then grows by one token per step.

Legend: N sampling rows, R penalised rows, P table rows, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vllm.messages import NewSlot
    from vllm.sampling.step import SamplingStep

__all__ = ["PenaltyTables", "Penalties"]

FIRST_TABLE_ROWS = 4


class PenaltyTables:
    """Counts of the tokens of penalised requests. Grows by doubling; a freed row is used again."""

    def __init__(self, vocab_size: int, device: torch.device) -> None:
        self._output_counts_PV = torch.zeros(0, vocab_size, dtype=torch.int32, device=device)
        self._in_prompt_PV = torch.zeros(0, vocab_size, dtype=torch.bool, device=device)
        self._table_row_of_slot: dict[int, int] = {}
        self._free_rows: list[int] = []

    def add(self, new: NewSlot) -> None:
        """Count the prompt and the outputs so far."""
        row = self._take_row(new.slot)
        prompt, outputs = torch.from_numpy(new.token_ids.astype(np.int64)).tensor_split([new.num_prompt_tokens])
        vocab_size = self._in_prompt_PV.shape[1]
        self._in_prompt_PV[row] = (torch.bincount(prompt, minlength=vocab_size) > 0).to(self._in_prompt_PV.device)
        self._output_counts_PV[row] = torch.bincount(outputs, minlength=vocab_size).to(self._output_counts_PV)

    def remove(self, slot: int) -> None:
        """Forget a slot; one without penalties is ignored."""
        if slot in self._table_row_of_slot:
            self._free_rows.append(self._table_row_of_slot.pop(slot))

    def rule(self, row_of_slot: dict[int, int], params: Sequence[tuple[float, float, float]]) -> Penalties:
        """The rule for these slots: slot → sampling row, and (repetition, frequency, presence) of each."""
        device = self._in_prompt_PV.device
        table_rows = [self._table_row_of_slot[slot] for slot in row_of_slot]
        columns = torch.tensor(params, dtype=torch.float32, device=device).T[:, :, None]
        return Penalties(
            tables=self,
            row_R=torch.tensor(list(row_of_slot.values()), dtype=torch.int64, device=device),
            table_row_R=torch.tensor(table_rows, dtype=torch.int64, device=device),
            repetition_R1=columns[0] if any(repetition != 1 for repetition, _, _ in params) else None,
            frequency_R1=columns[1],
            presence_R1=columns[2],
        )

    def output_counts(self, table_row_R: torch.Tensor) -> torch.Tensor:
        """How often each token stands in the outputs, [R, V]."""
        return self._output_counts_PV[table_row_R]

    def in_prompt(self, table_row_R: torch.Tensor) -> torch.Tensor:
        """Whether each token stands in the prompt, [R, V]."""
        return self._in_prompt_PV[table_row_R]

    def count(self, table_row_R: torch.Tensor, token_R: torch.Tensor) -> None:
        """One more output token per row."""
        one = torch.ones((), dtype=torch.int32, device=token_R.device)
        self._output_counts_PV.index_put_((table_row_R, token_R), one, accumulate=True)

    def _take_row(self, slot: int) -> int:
        self.remove(slot)
        if not self._free_rows:
            self._grow()
        self._table_row_of_slot[slot] = self._free_rows.pop()
        return self._table_row_of_slot[slot]

    def _grow(self) -> None:
        rows = len(self._in_prompt_PV)
        more = max(FIRST_TABLE_ROWS, rows)
        for name in ("_output_counts_PV", "_in_prompt_PV"):
            old = getattr(self, name)
            setattr(self, name, torch.cat([old, old.new_zeros(more, old.shape[1])]))
        self._free_rows.extend(range(rows, rows + more))


@dataclass(frozen=True, kw_only=True, slots=True)
class Penalties:
    """The penalties of R of the step's rows."""

    tables: PenaltyTables
    row_R: torch.Tensor
    table_row_R: torch.Tensor
    repetition_R1: torch.Tensor | None
    """None where no row asks for it, which saves the largest part of the work."""
    frequency_R1: torch.Tensor
    presence_R1: torch.Tensor

    def apply(self, logits_NV: torch.Tensor, step: SamplingStep) -> torch.Tensor:
        """Repetition divides positive and multiplies negative logits of seen tokens; the others subtract, for output tokens only."""
        counts_RV = self.tables.output_counts(self.table_row_R)
        logits_RV = logits_NV[self.row_R]
        if self.repetition_R1 is not None:
            weakened_RV = torch.where(logits_RV > 0, logits_RV / self.repetition_R1, logits_RV * self.repetition_R1)
            seen_RV = self.tables.in_prompt(self.table_row_R) | (counts_RV > 0)
            logits_RV = torch.where(seen_RV, weakened_RV, logits_RV)
        logits_RV -= self.frequency_R1 * counts_RV + self.presence_R1 * (counts_RV > 0)
        logits_NV[self.row_R] = logits_RV
        return logits_NV

    def count(self, tokens_N: torch.Tensor) -> None:
        """Take note of the step's tokens."""
        self.tables.count(self.table_row_R, tokens_N[self.row_R])
