"""The communicator of every device that has a torch.distributed backend: one process group of the ranks, made by `parallel_state`."""

from __future__ import annotations

import torch
import torch.distributed as dist

from vllm.distributed.device_communicators.base_communicator import CommunicatorBase

__all__ = ["TorchCommunicator"]

# torch 2.13 renamed these two and warns at each use of the old names
_all_gather_single = getattr(dist, "all_gather_single", None) or dist.all_gather_into_tensor
_reduce_scatter_single = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor


class TorchCommunicator(CommunicatorBase):
    """Collectives of torch.distributed. They take contiguous tensors only; inputs that are not are copied first."""

    def __init__(
        self, *, rank: int, world_size: int, device: torch.device, group: dist.ProcessGroup | None = None
    ) -> None:
        super().__init__(rank=rank, world_size=world_size, device=device, group=group)
        self._has_reduce_scatter = group is not None and dist.get_backend(group) != "gloo"

    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        tensor = tensor.contiguous()
        dist.all_reduce(tensor, group=self.group)
        return tensor

    def _all_gather(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        gathered_W = tensor.new_empty((self.world_size, *tensor.shape))
        _all_gather_single(gathered_W.flatten(0, 1), tensor.contiguous(), group=self.group)
        return gathered_W.movedim(0, dim).flatten(dim, dim + 1)

    def _reduce_scatter(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        if not self._has_reduce_scatter:  # gloo learned it after the oldest torch that we support
            return self._all_reduce(tensor.clone()).chunk(self.world_size, dim)[self.rank].contiguous()
        shares = tensor.movedim(dim, 0).contiguous()
        mine = shares.new_empty((shares.shape[0] // self.world_size, *shares.shape[1:]))
        _reduce_scatter_single(mine, shares, group=self.group)
        return mine.movedim(0, dim).contiguous()

    def _broadcast(self, tensor: torch.Tensor, src: int) -> torch.Tensor:
        whole = tensor.contiguous()
        dist.broadcast(whole, self._global(src), group=self.group)
        return tensor if whole is tensor else tensor.copy_(whole)

    def _send(self, tensor: torch.Tensor, dst: int) -> None:
        dist.send(tensor.contiguous(), self._global(dst), group=self.group)

    def _recv(self, shape: tuple[int, ...], dtype: torch.dtype, src: int) -> torch.Tensor:
        tensor = torch.empty(shape, dtype=dtype, device=self.device)
        dist.recv(tensor, self._global(src), group=self.group)
        return tensor

    def _barrier(self) -> None:
        """A collective whose result the host waits for: the same on every device."""
        self._all_reduce(torch.zeros(1, device=self.device)).item()

    def _destroy(self) -> None:
        if self.group is not None:
            dist.destroy_process_group(self.group)

    def _global(self, rank: int) -> int:
        """torch.distributed names peers by their rank in the whole world."""
        assert self.group is not None, "one rank has no peers"
        return dist.get_global_rank(self.group, rank)
