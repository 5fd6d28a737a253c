"""Owns the group of one rank: nothing to exchange, no process group, no library."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from vllm.distributed.device_communicators.base_communicator import CommunicatorBase

if TYPE_CHECKING:
    import torch

__all__ = ["SoloCommunicator"]


class SoloCommunicator(CommunicatorBase):
    """The contract's public methods answer by themselves for one rank, so the inner ones are never reached."""

    def __init__(self, device: torch.device) -> None:
        super().__init__(rank=0, world_size=1, device=device)

    def _all_reduce(self, tensor: torch.Tensor) -> NoReturn:
        self._unreachable()

    def _all_gather(self, tensor: torch.Tensor, dim: int) -> NoReturn:
        self._unreachable()

    def _reduce_scatter(self, tensor: torch.Tensor, dim: int) -> NoReturn:
        self._unreachable()

    def _broadcast(self, tensor: torch.Tensor, src: int) -> NoReturn:
        self._unreachable()

    def _send(self, tensor: torch.Tensor, dst: int) -> NoReturn:
        self._unreachable()

    def _recv(self, shape: tuple[int, ...], dtype: torch.dtype, src: int) -> NoReturn:
        self._unreachable()

    def _barrier(self) -> NoReturn:
        self._unreachable()

    def _unreachable(self) -> NoReturn:
        raise AssertionError("a group of one has no peers")
