"""Owns the two ranks of the collectives' laws: real processes, started as an engine's, that meet through the platform's communicator.

Legend: no shapes here; every tensor is a function of the rank and the case, so that either side can make it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from vllm.executor.multiproc import MultiprocExecutor
from vllm.worker.torch_worker import TorchWorker
from vllm.worker.worker_base import WorkerBase

if TYPE_CHECKING:
    from vllm.distributed.device_communicators.base_communicator import CommunicatorBase
    from vllm.executor.base import ExecutorBase
    from vllm.testing.workplace import Workplace
    from vllm.worker.model_runner_base import ModelRunnerBase

__all__ = ["Case", "MeetingWorker", "RANKS", "collective", "send_and_receive", "start_pair", "tensor_of"]

RANKS = 2


class MeetingWorker(TorchWorker):
    """Takes its device and joins the others; has no model."""

    tp: CommunicatorBase

    def _create_runner(self) -> ModelRunnerBase[Any]:
        return None  # type: ignore[return-value]  # nothing asks for it


def start_pair(workplace: Workplace) -> ExecutorBase:
    """Both ranks, met."""
    config = workplace.config(tensor_parallel_size=RANKS, worker_cls=f"{__name__}.{MeetingWorker.__qualname__}")
    executor = MultiprocExecutor(config)
    try:
        executor.call(WorkerBase.init_device)
    except BaseException:
        executor.shutdown()
        raise
    return executor


@dataclass(frozen=True, kw_only=True)
class Case:
    """One tensor per rank."""

    shape: tuple[int, ...]
    dtype: str
    contiguous: bool = True


def tensor_of(rank: int, case: Case) -> torch.Tensor:
    """Small whole numbers, exact in every dtype also when added; transposed where the case wants it non-contiguous."""
    shape = case.shape if case.contiguous else case.shape[::-1]
    whole = torch.randint(-20, 20, shape, generator=torch.Generator().manual_seed(rank + 1))
    tensor = whole.to(getattr(torch, case.dtype))
    return tensor if case.contiguous else tensor.permute(*reversed(range(tensor.dim())))


def collective(worker: MeetingWorker, name: str, case: Case, **arguments: Any) -> torch.Tensor:
    """On a rank: the collective `name` of this rank's tensor, the result on the host."""
    tensor = tensor_of(worker.rank, case).to(worker.device)
    calls = {
        "all_reduce": worker.tp.all_reduce,
        "all_gather": worker.tp.all_gather,
        "reduce_scatter": worker.tp.reduce_scatter,
        "broadcast": worker.tp.broadcast,
    }
    result = calls[name](tensor, **arguments)
    worker.platform.synchronize()
    return result.cpu()


def send_and_receive(worker: MeetingWorker, case: Case) -> torch.Tensor:
    """On a rank: 0 sends, 1 receives and sends back, 0 receives."""
    dtype = getattr(torch, case.dtype)
    if worker.rank == 0:
        worker.tp.send(tensor_of(0, case).to(worker.device), 1)
        received = worker.tp.recv(case.shape, dtype, 1)
    else:
        received = worker.tp.recv(case.shape, dtype, 0)
        worker.tp.send(received, 0)
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
