"""Owns the running of custom logits processors: tells them how the batch changed, and puts them among the sampler's rules.

A processor sees the step's sampling rows in batch order. A request that stays keeps its state: it is reported as moved, never as new.

Legend: N sampling rows, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vllm.sampling.logits_processors_interface import AddedRow, BatchUpdate, MoveDirectionality, MovedRow

if TYPE_CHECKING:
    import torch

    from vllm.sampling.logits_processors_interface import LogitsProcessor
    from vllm.sampling.step import SamplingStep

__all__ = ["CustomProcessors", "ProcessorRule", "batch_update"]

Occupant = tuple[int, int]
"""(slot, arrival): the same slot holds another request after another arrival."""
Describe = Callable[[int, int], AddedRow]
"""(slot, row) → what a processor is told about a request that is new to it."""


@dataclass(frozen=True, slots=True)
class ProcessorRule:
    """One processor as a rule of the sampler."""

    processor: LogitsProcessor

    def apply(self, logits_NV: torch.Tensor, step: SamplingStep) -> torch.Tensor:
        """What the processor makes of the logits."""
        return self.processor.apply(logits_NV)


class CustomProcessors:
    """All custom processors of an engine and the rows they know."""

    def __init__(self, processors: Sequence[LogitsProcessor]) -> None:
        self._processors = tuple(processors)
        self._known: list[Occupant] = []
        rules = [(ProcessorRule(processor), processor.is_argmax_invariant()) for processor in self._processors]
        self.before_choice = tuple(rule for rule, is_invariant in rules if not is_invariant)
        """May change the most likely token: run for every row."""
        self.after_temperature = tuple(rule for rule, is_invariant in rules if is_invariant)
        """Keep the most likely token: run where a row draws."""

    def __bool__(self) -> bool:
        return bool(self._processors)

    def unchanged(self) -> None:
        """Tell the processors that the rows are those of the step before."""
        for processor in self._processors:
            processor.update_state(None)

    def change(self, occupants: list[Occupant], describe: Describe) -> None:
        """Tell the processors how the rows became `occupants`."""
        update = batch_update(self._known, occupants, describe)
        self._known = occupants
        for processor in self._processors:
            processor.update_state(update)


def batch_update(old: list[Occupant], new: list[Occupant], describe: Describe) -> BatchUpdate | None:
    """The change from `old` rows to `new` ones as removals, additions and moves; None if there is none.

    Additions go to rows that are free after the removals; moves then bring everyone into place.
    """
    if old == new:
        return None
    staying, known = set(new), set(old)
    placed: list[Occupant | None] = [occupant if occupant in staying else None for occupant in old]
    removed = [row for row, occupant in enumerate(placed) if occupant is None]
    additions: list[AddedRow] = []
    for occupant in (occupant for occupant in new if occupant not in known):
        row = _free_row(placed)
        placed[row] = occupant
        additions.append(describe(occupant[0], row))
    return BatchUpdate(batch_size=len(new), removed=removed, added=additions, moved=_moves(placed, new))


def _free_row(placed: list[Occupant | None]) -> int:
    if None not in placed:
        placed.append(None)
    return placed.index(None)


def _moves(placed: list[Occupant | None], new: list[Occupant]) -> list[MovedRow]:
    """Bring each occupant to its row, front to back."""
    moves: list[MovedRow] = []
    placed += [None] * (len(new) - len(placed))
    row_of = {occupant: row for row, occupant in enumerate(placed) if occupant is not None}
    for target, occupant in enumerate(new):
        source, resident = row_of[occupant], placed[target]
        if source == target:
            continue
        kind = MoveDirectionality.UNIDIRECTIONAL if resident is None else MoveDirectionality.SWAP
        moves.append((source, target, kind))
        placed[source], placed[target] = resident, occupant
        row_of[occupant] = target
        if resident is not None:
            row_of[resident] = source
    return moves
