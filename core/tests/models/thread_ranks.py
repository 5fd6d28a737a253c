"""A group of ranks as threads of one process: the collectives meet at a barrier and read each other's tensors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch

from vllm.distributed.device_communicators.base_communicator import CommunicatorBase

ResultT = TypeVar("ResultT")


class _Meeting:
    """What the ranks of one group share."""

    def __init__(self, world_size: int) -> None:
        self.tensors: list[Any] = [None] * world_size
        self.barrier = threading.Barrier(world_size, timeout=60)


class ThreadRank(CommunicatorBase):
    """One rank; the others are threads with the same meeting place."""

    def __init__(self, rank: int, meeting: _Meeting) -> None:
        super().__init__(rank=rank, world_size=len(meeting.tensors), device=torch.device("cpu"))
        self._meeting = meeting

    def _exchange(self, tensor: torch.Tensor) -> list[torch.Tensor]:
        self._meeting.tensors[self.rank] = tensor
        self._meeting.barrier.wait()
        tensors = list(self._meeting.tensors)
        assert len({each.shape for each in tensors}) == 1, "ranks disagree about a shape"
        self._meeting.barrier.wait()
        return tensors

    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        return torch.stack(self._exchange(tensor)).sum(0)

    def _all_gather(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        return torch.cat(self._exchange(tensor), dim)

    def _reduce_scatter(self, tensor: torch.Tensor, dim: int) -> torch.Tensor:
        return self._all_reduce(tensor).chunk(self.world_size, dim)[self.rank]

    def _broadcast(self, tensor: torch.Tensor, src: int) -> torch.Tensor:
        return tensor.copy_(self._exchange(tensor)[src])

    def _send(self, tensor: torch.Tensor, dst: int) -> None:
        raise AssertionError("models do not send to one rank")

    def _recv(self, shape: tuple[int, ...], dtype: torch.dtype, src: int) -> torch.Tensor:
        raise AssertionError("models do not receive from one rank")

    def _barrier(self) -> None:
        self._meeting.barrier.wait()


def on_ranks(world_size: int, work: Callable[[ThreadRank], ResultT]) -> list[ResultT]:
    """`work` on every rank at once; a rank that raises lets the others fail instead of waiting."""
    meeting = _Meeting(world_size)

    def guarded(rank: int) -> ResultT:
        try:
            return work(ThreadRank(rank, meeting))
        except BaseException:
            meeting.barrier.abort()
            raise

    with ThreadPoolExecutor(world_size) as pool:
        futures = [pool.submit(guarded, rank) for rank in range(world_size)]
    failures = [error for future in futures if (error := future.exception()) is not None]
    causes = [error for error in failures if not isinstance(error, threading.BrokenBarrierError)]
    if failures:
        raise (causes or failures)[0]
    return [future.result() for future in futures]
