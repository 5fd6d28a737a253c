"""A worker with a bug: its model raises in the middle of the forward, with keys and values of the first layers written, for some steps."""

from __future__ import annotations

from typing import Any

import torch

from vllm.worker.torch_worker import TorchWorker

POISON = 1234
"""The token that the model cannot bear, from position POISON_FROM on."""
POISON_FROM = 30


class PoisonWorker(TorchWorker):
    """`additional_config`: `most_rows` makes larger steps fail too, 0 every one."""

    def _warm_up(self) -> None:
        super()._warm_up()
        self._is_poisoned = False
        self.runner.model.register_forward_pre_hook(self._look)
        self.runner.model.layers[-1].register_forward_pre_hook(self._raise)

    def _look(self, _model: Any, arguments: tuple[Any, ...]) -> None:
        ids_T, positions_T = arguments[0], arguments[1]
        most_rows = self.config.additional_config.get("most_rows")
        is_crowded = most_rows is not None and len(ids_T) > most_rows
        self._is_poisoned = is_crowded or bool(torch.any((ids_T == POISON) & (positions_T >= POISON_FROM)))

    def _raise(self, _layer: Any, _arguments: tuple[Any, ...]) -> None:
        if self._is_poisoned:
            raise ZeroDivisionError("the model cannot bear this")
