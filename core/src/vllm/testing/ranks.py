"""Owns the ranks of the collectives' laws: real processes, started as an engine's, that meet through the platform's communicator.

Legend: no shapes here; every tensor is a function of the rank and the case, so that either side can make it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import torch

from vllm.testing.bounded_executor import BOUNDED, BoundedExecutor
from vllm.worker.torch_worker import TorchWorker
from vllm.worker.worker_base import WorkerBase

if TYPE_CHECKING:
    from vllm.distributed.device_communicators.base_communicator import CommunicatorBase
    from vllm.executor.base import ExecutorBase
    from vllm.testing.workplace import Workplace
    from vllm.worker.model_runner_base import ModelRunnerBase

__all__ = ["Case", "Layout", "MeetingWorker", "collective", "many_reduces", "send_around", "start_ranks", "tensor_of"]


class MeetingWorker(TorchWorker):
    """Takes its device and joins the others; has no model."""

    tp: CommunicatorBase

    def _create_runner(self) -> ModelRunnerBase[Any]:
        return None  # type: ignore[return-value]  # nothing asks for it


def start_ranks(workplace: Workplace, ranks: int) -> ExecutorBase:
    """All of them, met. Raises WorkerError, with stage and ranks, where they do not meet in time."""
    config = workplace.config(
        tensor_parallel_size=ranks,
        worker_cls=f"{__name__}.{MeetingWorker.__qualname__}",
        distributed_executor_backend=BOUNDED,
    )
    executor = BoundedExecutor(config)
    try:
        executor.call(WorkerBase.init_device)
    except BaseException:
        executor.shutdown()
        raise
    return executor


class Layout(Enum):
    """How a tensor lies in memory."""

    CONTIGUOUS = "contiguous"
    TRANSPOSED = "transposed"
    SLICED = "a view of a wider one"


@dataclass(frozen=True, kw_only=True)
class Case:
    """One tensor per rank."""

    shape: tuple[int, ...]
    dtype: str
    layout: Layout = Layout.CONTIGUOUS

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}" + ("" if self.layout is Layout.CONTIGUOUS else f", {self.layout.value}")


def tensor_of(rank: int, case: Case) -> torch.Tensor:
    """Small whole numbers, exact in every dtype also when added."""
    whole = torch.randint(-20, 20, case.shape, generator=torch.Generator().manual_seed(rank + 1))
    return whole.to(getattr(torch, case.dtype))


def on_device(worker: MeetingWorker, case: Case) -> torch.Tensor:
    """This rank's tensor as the case lays it out there: moving it would make it contiguous again on some devices."""
    tensor = tensor_of(worker.rank, case).to(worker.device)
    if case.layout is Layout.TRANSPOSED:
        return tensor.mT.contiguous().mT
    if case.layout is Layout.SLICED:
        wide = torch.full((*case.shape[:-1], case.shape[-1] + 3), 77, dtype=tensor.dtype, device=worker.device)
        wide[..., 1:-2] = tensor
        return wide[..., 1:-2]
    return tensor


def collective(worker: MeetingWorker, name: str, case: Case, **arguments: Any) -> torch.Tensor:
    """On a rank: the collective `name` of this rank's tensor, the result on the host."""
    tensor = on_device(worker, case)
    calls = {
        "all_reduce": worker.tp.all_reduce,
        "all_gather": worker.tp.all_gather,
        "reduce_scatter": worker.tp.reduce_scatter,
        "broadcast": worker.tp.broadcast,
    }
    result = calls[name](tensor, **arguments)
    worker.platform.synchronize()
    return result.cpu()


def send_around(worker: MeetingWorker, case: Case) -> torch.Tensor:
    """On a rank: 0's tensor goes from each to the next, and from the last back to 0."""
    dtype, ranks = getattr(torch, case.dtype), worker.tp.world_size
    after, before = (worker.rank + 1) % ranks, (worker.rank - 1) % ranks
    if worker.rank == 0:
        worker.tp.send(on_device(worker, case), after)
        received = worker.tp.recv(case.shape, dtype, before)
    else:
        received = worker.tp.recv(case.shape, dtype, before)
        worker.tp.send(received, after)
    worker.tp.barrier()
    worker.platform.synchronize()
    return received.cpu()


def many_reduces(worker: MeetingWorker, case: Case, count: int) -> torch.Tensor:
    """On a rank: collectives in a row, each on the last one's result and read at once, as a model's layers do.

    Averages, one added and taken away in turns: of an even count the average is left, and no result is the one before it.
    """
    tensor = tensor_of(worker.rank, case).to(worker.device)
    for number in range(count):
        tensor = worker.tp.all_reduce(tensor.clone()) * 0.5 + (-1) ** number
    worker.platform.synchronize()
    return tensor.cpu()
