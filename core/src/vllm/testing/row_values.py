"""Owns how the kit's custom logits processors follow their rows: as any stateful processor must, while requests come, go and move."""

from __future__ import annotations

import abc
from typing import TYPE_CHECKING, Generic, TypeVar

from vllm.sampling.logits_processors_interface import BatchUpdate, LogitsProcessor, MoveDirectionality

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from vllm.config import VllmConfig
    from vllm.sampling_params import SamplingParams

__all__ = ["RowValues"]

T = TypeVar("T")


class RowValues(LogitsProcessor, Generic[T]):
    """A value for each row that asks for one."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        del vllm_config, device, is_pin_memory
        self._value_of_row: dict[int, T] = {}

    @classmethod
    def path(cls) -> str:
        """For `logits_processors`."""
        return f"{cls.__module__}.{cls.__qualname__}"

    @abc.abstractmethod
    def _value(self, params: SamplingParams, outputs: Sequence[int]) -> T | None:
        """What a new row asks for; `outputs` grows."""

    def is_argmax_invariant(self) -> bool:
        """Greedy rows are changed too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the rows."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._value_of_row.pop(row, None)
        for row, params, _prompt, outputs in batch_update.added:
            self._value_of_row.pop(row, None)
            value = self._value(params, outputs)
            if value is not None:
                self._value_of_row[row] = value
        for source, target, direction in batch_update.moved:
            self._move(source, target, is_swap=direction is MoveDirectionality.SWAP)

    def _move(self, source: int, target: int, *, is_swap: bool) -> None:
        moving, displaced = self._value_of_row.pop(source, None), self._value_of_row.pop(target, None)
        if moving is not None:
            self._value_of_row[target] = moving
        if is_swap and displaced is not None:
            self._value_of_row[source] = displaced
