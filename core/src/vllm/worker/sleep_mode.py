"""Owns a torch worker's sleep: its weights and its KV cache leave the device, and come back.

Any device that torch knows can do it, where the platform declares `Feature.SLEEP_MODE`: tensors stay the objects they are, only their
storages shrink to nothing and grow again, so that views, tied weights and whoever holds a parameter need not know.

Legend: B bytes.
"""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import torch

from vllm.logger import init_logger
from vllm.worker.memory_errors import memory_errors_explained

if TYPE_CHECKING:
    from torch import nn

    from vllm.platforms import Platform
    from vllm.worker.model_runner_base import ModelRunnerBase

__all__ = ["Sleep"]

logger = init_logger(__name__)


class Sleep:
    """From falling asleep, which is making one, to the last `wake_up`."""

    def __init__(self, runner: ModelRunnerBase[Any], platform: Platform, level: int) -> None:
        """Level 1 keeps the weights on the host; level 2 discards them, and the model is loaded anew."""
        self._runner, self._platform = runner, platform
        self._asleep = {"weights", "kv_cache"}
        self._reloads = level == 2
        platform.synchronize()
        self._host_copies = [] if self._reloads else self._moved_to_host()  # may fail: nothing is freed before
        runner.free_kv_cache()
        for device_B in _storages(runner.model):
            device_B.untyped_storage().resize_(0)
        gc.collect()  # recordings may hang in cycles
        platform.empty_cache()

    @property
    def is_over(self) -> bool:
        """Whether everything is back."""
        return not self._asleep

    def wake_up(self, tags: Iterable[str]) -> None:
        """Bring back what the tags name; with the last of it, what was captured is captured anew."""
        returning = self._asleep.intersection(tags)
        self._asleep -= returning
        if "weights" in returning:
            self._restore_weights()
        if "kv_cache" in returning:
            self._runner.restore_kv_cache()
        if returning and self.is_over:
            self._runner.warm_up()
        self._platform.synchronize()

    def _moved_to_host(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(storage on the device, its bytes on the host) of every storage. Raises OutOfMemoryError where the host has no room."""
        copies = []
        with memory_errors_explained(self._platform, "keeping the weights on the host"):
            pins = self._platform.is_pin_memory_available()
            for device_B in _storages(self._runner.model):
                host_B = torch.empty(device_B.shape, dtype=torch.uint8, pin_memory=pins)
                copies.append((device_B, host_B.copy_(device_B)))
        return copies

    def _restore_weights(self) -> None:
        if self._reloads:
            self._runner.load_model()
        for device_B, host_B in self._host_copies:
            device_B.untyped_storage().resize_(host_B.numel())
            device_B.copy_(host_B)
        self._host_copies.clear()


def _storages(model: nn.Module) -> Iterator[torch.Tensor]:
    """Each storage once, whole, as bytes. What cannot shrink, memory that torch did not allocate, stays where it is."""
    seen: set[int] = set()
    for tensor in (*model.parameters(), *model.buffers()):
        storage = tensor.untyped_storage()
        if not storage.nbytes() or storage.data_ptr() in seen:
            continue
        seen.add(storage.data_ptr())
        if storage.resizable():
            yield torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)
        else:
            logger.warning_once(
                "%.1f MiB cannot leave the device: torch did not allocate them.", storage.nbytes() / 2**20
            )
