"""Owns parts with one fault each, for the broken platforms. Apart from them, because it imports torch."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import Any

import torch

from vllm.attention.backends.abstract import AttentionSpec
from vllm.distributed.device_communicators.torch_communicator import TorchCommunicator
from vllm.errors import ConfigError
from vllm.model_executor.ops.norm import RMSNorm
from vllm.testing.dense_attention import DenseAttention
from vllm.worker.torch_worker import TorchWorker


class MisscaledAttention(DenseAttention):
    """Divides by the root of the head size whatever the layer says."""

    def forward(self, *arguments: Any) -> torch.Tensor:
        *others, spec = arguments
        assert isinstance(spec, AttentionSpec)
        return super().forward(*others, replace(spec, scale=spec.head_size**-0.5))


class NormWithoutEps(RMSNorm):
    """Divides by nothing added."""

    def forward(self, x_H: torch.Tensor, residual_H: torch.Tensor | None = None) -> Any:
        sum_H = x_H if residual_H is None else x_H + residual_H
        normed_H = sum_H / sum_H.float().square().mean(-1, keepdim=True).sqrt().to(x_H.dtype) * self.weight
        return normed_H if residual_H is None else (normed_H, sum_H)


class LonelyCommunicator(TorchCommunicator):
    """Rank 1 waits in a library that knows no time-out."""

    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        if self.rank == 1:
            threading.Event().wait()
        return tensor


class ShyCommunicator(TorchCommunicator):
    """Rank 1 never finishes its set-up."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        if self.rank == 1:
            threading.Event().wait()


class ColdWorker(TorchWorker):
    """Rank 1 compiles for ever."""

    def _warm_up(self) -> None:
        if self.rank == 1:
            threading.Event().wait()


class DrowsyWorker(TorchWorker):
    """Discards nothing."""

    def _sleep(self, level: int) -> None:
        if level == 2:
            raise ConfigError("Level 2 is not done here.")
        super()._sleep(level)
