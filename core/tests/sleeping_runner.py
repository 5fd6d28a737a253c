"""Owns the runner of the platform that sleeps: its cache takes memory from the beginning, as on a device."""

from __future__ import annotations

import torch

from vllm.worker.torch_model_runner import TorchModelRunner

__all__ = ["DeviceLikeRunner"]


class DeviceLikeRunner(TorchModelRunner):
    """A host's zeroed pages cost nothing until they are written."""

    @torch.inference_mode()
    def restore_kv_cache(self) -> None:
        super().restore_kv_cache()
        for tensor in (tensor for layer in self.kv_caches for tensor in layer):
            tensor.view(-1)[:: 4096 // tensor.itemsize] = 0
