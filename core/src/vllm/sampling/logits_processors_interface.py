"""Owns the contract of custom logits processors: one object per engine that changes the logits of a whole batch.

Shape legend: N rows of the batch, V vocabulary. Give classes through `LLM(logits_processors=[…])`, `--logits-processors` (dotted
paths) or the entry-point group `vllm.logits_processors`. This module imports no torch; a processor does, if it needs to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

    from vllm.config.vllm import VllmConfig
    from vllm.sampling_params import SamplingParams

__all__ = ["AddedRow", "BatchUpdate", "LogitsProcessor", "MoveDirectionality", "MovedRow"]


class MoveDirectionality(Enum):
    """How two rows change places."""

    UNIDIRECTIONAL = 0
    """Row a becomes row b; what was in b is gone."""
    SWAP = 1


AddedRow = tuple[int, "SamplingParams", Sequence[int], Sequence[int]]
"""(row, parameters, prompt ids, output ids). The output ids are a live view: they grow as tokens are generated."""
MovedRow = tuple[int, int, MoveDirectionality]
"""(row a, row b, direction)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchUpdate:
    """How the batch changed since the last step. Apply it in this order: removed, added, moved.

    An added row may stand where a request was removed, or replace a running one without a removal.
    """

    batch_size: int
    """Rows after the change."""
    removed: Sequence[int] = ()
    added: Sequence[AddedRow] = ()
    moved: Sequence[MovedRow] = ()


class LogitsProcessor(ABC):
    """Base of every custom logits processor.

    An exception in `validate_params` refuses the request. One in another method costs the request that causes it where the platform
    can go on after a failed step (`Feature.STEP_RECOVERY`); elsewhere it ends the engine.
    """

    @classmethod
    def validate_params(cls, sampling_params: SamplingParams) -> None:
        """Check what a request gives this processor, usually in `extra_args`. Raise ValueError to refuse the request."""

    @abstractmethod
    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        """Called once per worker, and again after a step that failed, when all rows are new.

        `is_pin_memory`: whether host buffers for `device` should be pinned.
        """

    @abstractmethod
    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Change the logits [N, V] (float32, on the device given) in place or return a new tensor of the same shape."""

    @abstractmethod
    def is_argmax_invariant(self) -> bool:
        """Whether the most likely token of a row always stays the same: then greedy batches skip `apply`. Asked once."""

    @abstractmethod
    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Called before every `apply`; None where the batch's rows are the same as in the step before."""
