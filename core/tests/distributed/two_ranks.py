"""What the two ranks of the collective tests run; shapes and values are a function of the rank, so that a test can do the sums itself."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from core.tests.executor.fake_worker import FakePlatform, FakeWorker
from vllm.distributed.device_communicators.base_communicator import CommunicatorBase
from vllm.distributed.parallel_state import join_tensor_parallel


class JoiningPlatform(FakePlatform):
    """The fake platform with a worker that meets the other ranks."""

    def get_worker_cls(self) -> str:
        return f"{__name__}.JoiningWorker"


class JoiningWorker(FakeWorker):
    """Joins, and computes collectives on request."""

    tp: CommunicatorBase

    def _init_device(self) -> None:
        if self.config.additional_config.get("absent") == self.rank:
            return
        torch.set_num_threads(1)
        self.tp = join_tensor_parallel(
            self.config, JoiningPlatform(), rank=self.rank, device=torch.device("cpu"), init_method=self.init_method
        )

    def _shutdown(self) -> None:
        if "absent" not in self.config.additional_config:
            self.tp.destroy()


def tensor_of(rank: int, case: Mapping[str, Any]) -> torch.Tensor:
    """Small whole numbers, whose sums are exact in every dtype; transposed where a non-contiguous input is wanted."""
    generator = torch.Generator().manual_seed(rank)
    shape = case["shape"] if case["contiguous"] else case["shape"][::-1]
    tensor = torch.randint(0, 50, shape, generator=generator).to(getattr(torch, case["dtype"]))
    return tensor if case["contiguous"] else tensor.permute(*reversed(range(tensor.dim())))


def collective(worker: JoiningWorker, name: str, case: Mapping[str, Any], **kwargs: Any) -> torch.Tensor:
    """One collective on the case's tensor."""
    operation = {
        "all_reduce": worker.tp.all_reduce,
        "all_gather": worker.tp.all_gather,
        "reduce_scatter": worker.tp.reduce_scatter,
        "broadcast": worker.tp.broadcast,
    }[name]
    return operation(tensor_of(worker.rank, case), **kwargs)


def input_after_gather(worker: JoiningWorker, case: Mapping[str, Any]) -> torch.Tensor:
    """What gathering and scattering leave of their input."""
    tensor = tensor_of(worker.rank, case)
    worker.tp.all_gather(tensor)
    worker.tp.reduce_scatter(tensor)
    return tensor


def pass_on(worker: JoiningWorker, case: Mapping[str, Any]) -> torch.Tensor:
    """Rank 0 sends to rank 1, which adds one and sends back."""
    if worker.rank == 0:
        worker.tp.send(tensor_of(0, case), 1)
        return worker.tp.recv(case["shape"], getattr(torch, case["dtype"]), 1)
    received = worker.tp.recv(case["shape"], getattr(torch, case["dtype"]), 0)
    worker.tp.send(received + 1, 0)
    return received


def barrier_order(worker: JoiningWorker, folder: str) -> list[str]:
    """Which ranks' files a rank sees right after the barrier: all."""
    Path(folder, str(worker.rank)).touch()
    worker.tp.barrier()
    return sorted(path.name for path in Path(folder).iterdir())


def wrong_peer(worker: JoiningWorker) -> None:
    worker.tp.send(torch.zeros(1), worker.rank)


def all_reduce_us(worker: JoiningWorker, shape: tuple[int, ...], repeats: int) -> float:
    """Microseconds of one all_reduce in float32 (for people, not for tests)."""
    tensor = torch.ones(shape)
    for _ in range(20):
        worker.tp.all_reduce(tensor)
    start_s = time.perf_counter()
    for _ in range(repeats):
        worker.tp.all_reduce(tensor)
    return (time.perf_counter() - start_s) / repeats * 1e6


def reduce_forever(worker: JoiningWorker) -> None:
    """Rank 0 waits in a collective that rank 1 does not join."""
    if worker.rank == 0:
        worker.tp.all_reduce(torch.ones(4))


def pid_of(_worker: JoiningWorker) -> int:
    return os.getpid()
