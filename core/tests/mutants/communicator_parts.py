"""Owns communicators with one fault each. Every rank still takes part in every collective, so that nobody waits for ever."""

from __future__ import annotations

import torch

from vllm.distributed.device_communicators.torch_communicator import TorchCommunicator


class ForgetsARank(TorchCommunicator):
    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        return super()._all_reduce(tensor if self.rank else torch.zeros_like(tensor))


class ReadsTooEarly(TorchCommunicator):
    early: torch.Tensor | None = None

    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        before, self.early = self.early, super()._all_reduce(tensor)
        return before if before is not None and before.shape == tensor.shape else self.early


class ReducesMemoryOrder(TorchCommunicator):
    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        return super()._all_reduce(in_memory_order(tensor))


class GathersMemoryOrder(TorchCommunicator):
    def _all_gather(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        return super()._all_gather(in_memory_order(tensor), dim)


class AsksOneNeighbour(TorchCommunicator):
    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        all_W = super()._all_gather(tensor.clone()[None], 0)
        return all_W[self.rank] + all_W[self.rank ^ 1]


class BackwardGather(TorchCommunicator):
    def _all_gather(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        return torch.cat(super()._all_gather(tensor, dim).chunk(self.world_size, dim)[::-1], dim)


class GathersLastDimension(TorchCommunicator):
    def _all_gather(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        return super()._all_gather(tensor, tensor.dim() - 1)


class OthersShare(TorchCommunicator):
    def _reduce_scatter(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        return super()._reduce_scatter(torch.cat(tensor.chunk(self.world_size, dim)[::-1], dim), dim)


class AlwaysFromZero(TorchCommunicator):
    def _broadcast(self, tensor: torch.Tensor, src: int) -> torch.Tensor:
        return super()._broadcast(tensor, 0)


class ReceivesHalf(TorchCommunicator):
    def _recv(self, shape: tuple[int, ...], dtype: torch.dtype, src: int) -> torch.Tensor:
        return super()._recv(shape, dtype, src).to(torch.float16)


def in_memory_order(tensor: torch.Tensor) -> torch.Tensor:
    """As many elements as the view has, from where it begins."""
    return tensor.as_strided((tensor.numel(),), (1,)).view(tensor.shape)
