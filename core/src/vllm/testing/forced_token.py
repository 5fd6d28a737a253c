"""Owns a custom logits processor for the generation laws: it leaves one token to the rows that ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.sampling.logits_processors_interface import BatchUpdate, LogitsProcessor, MoveDirectionality

if TYPE_CHECKING:
    import torch

    from vllm.config import VllmConfig

__all__ = ["ARGUMENT", "ForcedToken"]

ARGUMENT = "forced_token"
"""Key of `SamplingParams.extra_args`."""


class ForcedToken(LogitsProcessor):
    """Keeps its rows as the batch changes, as any stateful processor must."""

    def __init__(self, vllm_config: VllmConfig, device: torch.device, is_pin_memory: bool) -> None:
        del vllm_config, device, is_pin_memory
        self._token_of_row: dict[int, int] = {}

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Everything but the token becomes impossible."""
        for row, token in self._token_of_row.items():
            logits[row, :token] = float("-inf")
            logits[row, token + 1 :] = float("-inf")
        return logits

    def is_argmax_invariant(self) -> bool:
        """It changes greedy rows too."""
        return False

    def update_state(self, batch_update: BatchUpdate | None) -> None:
        """Follow the rows."""
        if batch_update is None:
            return
        for row in batch_update.removed:
            self._token_of_row.pop(row, None)
        for row, params, _prompt, _outputs in batch_update.added:
            self._token_of_row.pop(row, None)
            if params.extra_args and ARGUMENT in params.extra_args:
                self._token_of_row[row] = params.extra_args[ARGUMENT]
        for source, target, direction in batch_update.moved:
            self._move(source, target, is_swap=direction is MoveDirectionality.SWAP)

    def _move(self, source: int, target: int, *, is_swap: bool) -> None:
        moving, displaced = self._token_of_row.pop(source, None), self._token_of_row.pop(target, None)
        if moving is not None:
            self._token_of_row[target] = moving
        if is_swap and displaced is not None:
            self._token_of_row[source] = displaced
