"""Owns the log-probabilities of prompts: which tokens of a step are about prompt tokens, and their scores, a chunk at a time.

Legend: Q tokens of one stretch, V vocabulary, K columns, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from vllm.messages import PromptLogprobs
from vllm.sampling.logprobs import chosen_and_best, score_table

if TYPE_CHECKING:
    from vllm.messages import Int32Array, NewSlot, StepPlan
    from vllm.worker.persistent_batch import PersistentBatch
    from vllm.worker.step_inputs import StepRows

__all__ = ["PromptScorer", "PromptStretch"]

TOKENS_PER_CHUNK = 256
"""Logits of so many prompt tokens exist at once: with a large vocabulary they are the largest tensors of a step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptStretch:
    """Prompt tokens start … start + count - 1 of a slot are predicted by tokens first_token … of the step."""

    slot: int
    start: int
    count: int
    first_token: int
    num_best: int


class PromptScorer:
    """Knows the slots that still want log-probabilities of their prompt."""

    def __init__(self, batch: PersistentBatch, vocab_size: int, mode: str) -> None:
        self._batch = batch
        self._vocab_size = vocab_size
        self._mode = mode
        self._wanted: dict[int, tuple[int, int]] = {}
        """slot → (number of best tokens, first prompt index not yet delivered)."""

    def apply(self, plan: StepPlan) -> None:
        """Take note of new and freed slots."""
        for slot in plan.freed_slots.tolist() if self._wanted else ():
            self._wanted.pop(slot, None)
        for new in plan.new:
            self._wanted.pop(new.slot, None)
            if new.sampling.prompt_logprobs is not None:
                self._wanted[new.slot] = self._wish(new)

    def stretches(self, rows: StepRows) -> tuple[PromptStretch, ...]:
        """The prompt tokens that this step predicts, of the slots that want them."""
        return tuple(self._stretches(rows)) if self._wanted else ()

    def report(
        self,
        hidden_QH: torch.Tensor,
        stretches: tuple[PromptStretch, ...],
        logits: Callable[[torch.Tensor], torch.Tensor],
    ) -> tuple[PromptLogprobs, ...]:
        """Scores of all stretches; `hidden_QH` holds their tokens one after the other."""
        parts = hidden_QH.split([stretch.count for stretch in stretches])
        return tuple(
            message
            for stretch, part in zip(stretches, parts, strict=True)
            for message in self._messages(part, stretch, logits)
        )

    def _wish(self, new: NewSlot) -> tuple[int, int]:
        wanted = new.sampling.prompt_logprobs or 0
        return self._vocab_size if wanted == -1 else wanted, new.num_prompt_logprobs_done + 1

    def _stretches(self, rows: StepRows) -> Iterator[PromptStretch]:
        for slot, (num_best, first_wanted) in list(self._wanted.items()):
            for row in np.flatnonzero(rows.slots_N == slot).tolist():
                position = int(rows.first_position_N[row])
                start = max(position + 1, first_wanted)
                end = min(position + int(rows.count_N[row]) + 1, int(self._batch.num_prompt_S[slot]))
                if end == self._batch.num_prompt_S[slot]:
                    del self._wanted[slot]  # the last stretch: decodes do not pay
                if start < end:
                    first_token = int(rows.query_start_N1[row]) + start - 1 - position
                    yield PromptStretch(
                        slot=slot, start=start, count=end - start, first_token=first_token, num_best=num_best
                    )

    def _messages(
        self, hidden_QH: torch.Tensor, stretch: PromptStretch, logits: Callable[[torch.Tensor], torch.Tensor]
    ) -> Iterator[PromptLogprobs]:
        for offset in range(0, stretch.count, TOKENS_PER_CHUNK):
            hidden = hidden_QH[offset : offset + TOKENS_PER_CHUNK]
            start = stretch.start + offset
            prompt: Int32Array = self._batch.token_ids_SL[stretch.slot, start : start + len(hidden)]
            scores_QV = score_table(logits(hidden), self._mode)
            chosen_Q = torch.from_numpy(prompt.astype(np.int64)).to(scores_QV.device)
            ids_QK, values_QK, rank_Q = chosen_and_best(scores_QV, chosen_Q, stretch.num_best)
            yield PromptLogprobs(
                slot=stretch.slot, start=start, token_ids_TK=ids_QK, logprobs_TK=values_QK, rank_T=rank_Q
            )
