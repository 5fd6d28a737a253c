"""The CapturedForward contract: a forward pass recorded once per bucket and replayed (device graph, compiled static shape).

The core chooses the bucket and pads; the platform's class records and replays.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

__all__ = ["CapturedForward"]


class CapturedForward(abc.ABC):
    """Holds one recording per bucket. `forward(input_ids_T, positions_T, kv_caches, metadata) -> hidden_TH` is the model's."""

    def __init__(self, forward: Callable[..., torch.Tensor], device: torch.device) -> None:
        self.forward = forward
        self.device = device

    @abc.abstractmethod
    def capture(
        self, bucket_rows: int, input_ids_T: torch.Tensor, positions_T: torch.Tensor, kv_caches: Any, metadata: Any
    ) -> None:
        """Record a decode step of `bucket_rows` rows, before the first request.

        Inputs are dummies of the final shape, with the longest context that there can be: a block table of all its columns, full of the
        null block. The recorder may keep them as its buffers; tables of later steps may have fewer columns.
        """

    @abc.abstractmethod
    def replay(
        self, bucket_rows: int, input_ids_T: torch.Tensor, positions_T: torch.Tensor, kv_caches: Any, metadata: Any
    ) -> torch.Tensor:
        """Run a recorded step on new values, copied into the recording's buffers; returns hidden_TH, valid until the next replay."""

    def memory_bytes(self) -> int:
        """Device memory that the recordings hold."""
        return 0
