"""A communicator from outside: `Platform.get_communicator_cls`, here with an all-reduce of its own between two processes."""

from __future__ import annotations

from typing import Any

import torch

from core.tests.extension_points.engines import example_engine, generated, plain_tokens
from vllm.distributed.device_communicators.torch_communicator import TorchCommunicator
from vllm.worker.torch_worker import TorchWorker
from vllm_cpu_ref.platform import CpuRefPlatform


class GatheringCommunicator(TorchCommunicator):
    """Sums what it gathers, in rank order, so that the sum is the same on every rank to the last bit."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.reductions = 0

    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        self.reductions += 1
        return self._all_gather(tensor.unsqueeze(0), 0).sum(0)


class GatheringPlatform(CpuRefPlatform):
    def get_communicator_cls(self) -> str:
        return f"{__name__}.GatheringCommunicator"


def reductions_of(worker: TorchWorker) -> tuple[str, int]:
    assert isinstance(worker.tp, GatheringCommunicator)
    return type(worker.tp).__name__, worker.tp.reductions


def test_both_ranks_reduce_through_it() -> None:
    with example_engine(GatheringPlatform, tensor_parallel_size=2) as engine:
        assert generated(engine) == plain_tokens()
        first, second = engine.collective_rpc(reductions_of)
    assert first == second
    assert first[0] == "GatheringCommunicator"
    assert first[1] >= 12 * (2 * 4 + 1), "12 steps; twice per layer, once for the embedding"
