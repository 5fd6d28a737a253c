"""Collectives of two real ranks over gloo, against sums done by hand."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from core.tests.distributed import two_ranks
from core.tests.distributed.two_ranks import JoiningPlatform, collective, tensor_of
from core.tests.executor.fake_worker import fake_config
from core.tests.executor.processes import open_watches, still_alive
from vllm.distributed.device_communicators.torch_communicator import TorchCommunicator
from vllm.distributed.parallel_state import join_tensor_parallel
from vllm.errors import WorkerDiedError, WorkerError
from vllm.executor.multiproc import MultiprocExecutor
from vllm.worker.worker_base import WorkerBase

pytestmark = pytest.mark.alone  # processes and their deadlines


def two_ranks_config(timeout_s: float = 60.0, **orders: Any):
    config = fake_config(2, backend="mp", **orders)
    config = replace(config, platform=f"{JoiningPlatform.__module__}.JoiningPlatform")
    return config.with_changes(parallel_config={"distributed_timeout_s": timeout_s})


@pytest.fixture(scope="module")
def executor() -> Iterator[MultiprocExecutor]:
    executor = MultiprocExecutor(two_ranks_config())
    executor.call(WorkerBase.init_device)
    yield executor
    executor.shutdown()


cases = pytest.mark.parametrize(
    "case",
    [
        {"dtype": dtype, "shape": shape, "contiguous": contiguous}
        for dtype in ("float32", "bfloat16", "float16", "int32", "int64")
        for shape, contiguous in (((2, 6, 4), True), ((2, 6, 4), False), ((8,), True))
    ],
    ids=lambda case: f"{case['dtype']}-{'x'.join(map(str, case['shape']))}{'' if case['contiguous'] else '-strided'}",
)


@cases
def test_all_reduce_is_the_sum_on_every_rank(executor: MultiprocExecutor, case: dict[str, Any]) -> None:
    expected = tensor_of(0, case) + tensor_of(1, case)
    for got in executor.call(collective, "all_reduce", case):
        assert got.dtype == expected.dtype
        assert torch.equal(got, expected)


@cases
def test_all_gather_concatenates_in_rank_order(executor: MultiprocExecutor, case: dict[str, Any]) -> None:
    for dim in {0, -1, len(case["shape"]) // 2}:
        expected = torch.cat([tensor_of(0, case), tensor_of(1, case)], dim)
        for got in executor.call(collective, "all_gather", case, dim=dim):
            assert torch.equal(got, expected)


@cases
def test_reduce_scatter_gives_each_rank_its_share(executor: MultiprocExecutor, case: dict[str, Any]) -> None:
    for dim in {0, -1, len(case["shape"]) // 2}:
        expected = (tensor_of(0, case) + tensor_of(1, case)).chunk(2, dim)
        for rank, got in enumerate(executor.call(collective, "reduce_scatter", case, dim=dim)):
            assert got.is_contiguous()
            assert torch.equal(got, expected[rank])


@cases
@pytest.mark.parametrize("src", [0, 1])
def test_broadcast_copies_the_source(executor: MultiprocExecutor, case: dict[str, Any], src: int) -> None:
    for got in executor.call(collective, "broadcast", case, src=src):
        assert torch.equal(got, tensor_of(src, case))


@cases
def test_send_and_receive(executor: MultiprocExecutor, case: dict[str, Any]) -> None:
    returned, received = executor.call(two_ranks.pass_on, case)
    assert torch.equal(received, tensor_of(0, case))
    assert torch.equal(returned, tensor_of(0, case) + 1)


def test_inputs_of_gather_and_scatter_are_left_alone(executor: MultiprocExecutor) -> None:
    case = {"dtype": "float32", "shape": (4, 4), "contiguous": True}
    for rank, left in enumerate(executor.call(two_ranks.input_after_gather, case)):
        assert torch.equal(left, tensor_of(rank, case))


def test_barrier_waits_for_all(executor: MultiprocExecutor, tmp_path: Path) -> None:
    assert executor.call(two_ranks.barrier_order, str(tmp_path)) == [["0", "1"], ["0", "1"]]


def test_misuse_is_refused(executor: MultiprocExecutor) -> None:
    case = {"dtype": "float32", "shape": (3, 4), "contiguous": True}
    with pytest.raises(ValueError, match=r"dimension 0 of \(3, 4\) does not divide by 2 ranks"):
        executor.call(collective, "reduce_scatter", case, dim=0)
    with pytest.raises(ValueError, match="dim 2 is outside a tensor of 2 dimensions"):
        executor.call(collective, "all_gather", case, dim=2)
    with pytest.raises(ValueError, match=r"rank \d is no peer of rank \d"):
        executor.call(two_ranks.wrong_peer)


def test_a_rank_killed_while_its_peer_is_in_a_collective() -> None:
    executor = MultiprocExecutor(two_ranks_config())
    executor.call(WorkerBase.init_device)
    pids = executor.call(two_ranks.pid_of)
    watches = open_watches(pids)
    with pytest.raises(TimeoutError):
        executor.collective_rpc(two_ranks.reduce_forever, timeout_s=0.1)
    os.kill(pids[1], signal.SIGKILL)
    with pytest.raises(WorkerDiedError, match=rf"Worker 1 \(pid {pids[1]}\) died with signal 9"):
        executor.call(two_ranks.pid_of)
    assert still_alive(watches) == []


def test_a_collective_that_is_not_joined_times_out() -> None:
    executor = MultiprocExecutor(two_ranks_config(timeout_s=1.0))
    executor.call(WorkerBase.init_device)
    with pytest.raises(RuntimeError, match=r"(?s)(T|t)im.*out.*Raised by: Worker 0"):
        executor.call(two_ranks.reduce_forever)
    executor.shutdown()


def test_a_rank_that_does_not_come_is_waited_for_only_so_long() -> None:
    executor = MultiprocExecutor(two_ranks_config(timeout_s=0.5, absent=1))
    with pytest.raises(WorkerError, match=r"(?s)Rank 0 of 2 could not join the others by gloo.*later than 0.5 s"):
        executor.call(WorkerBase.init_device)
    executor.shutdown()


def test_one_rank_needs_no_group() -> None:
    platform = JoiningPlatform()
    solo = join_tensor_parallel(fake_config(), platform, rank=0, device=torch.device("cpu"), init_method="")
    assert not torch.distributed.is_initialized()
    for communicator in (solo, TorchCommunicator(rank=0, world_size=1, device=torch.device("cpu"))):
        tensor = torch.arange(6.0).reshape(2, 3)
        assert communicator.all_reduce(tensor) is tensor
        assert communicator.all_gather(tensor) is tensor
        assert communicator.reduce_scatter(tensor, 0) is tensor
        assert communicator.broadcast(tensor) is tensor
        communicator.barrier()
        communicator.destroy()
