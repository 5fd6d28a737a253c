"""Owns how a worker joins the other ranks. Nothing global is kept beside torch.distributed's own default group."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from vllm.distributed.device_communicators.base_communicator import CommunicatorBase
from vllm.distributed.device_communicators.solo_communicator import SoloCommunicator
from vllm.errors import WorkerError
from vllm.plugins.dotted import load_subclass

if TYPE_CHECKING:
    import torch

    from vllm.config import VllmConfig
    from vllm.platforms.interface import Platform

__all__ = ["join_tensor_parallel"]


def join_tensor_parallel(
    config: VllmConfig, platform: Platform, *, rank: int, device: torch.device, init_method: str
) -> CommunicatorBase:
    """Meet the other ranks and give their communicator, of the platform's class; blocks until all are there. One rank meets nobody.

    Raises:
        WorkerError: the others did not come within `distributed_timeout_s`, or the backend is missing in this torch.
    """
    ranks = config.parallel_config.tensor_parallel_size
    if ranks == 1:
        return SoloCommunicator(device)
    option = f"{type(platform).__name__}.get_communicator_cls()"
    communicator_cls = load_subclass(platform.get_communicator_cls(), CommunicatorBase, option=option)
    group = _meet(config, platform.dist_backend, rank=rank, ranks=ranks, init_method=init_method)
    return communicator_cls(rank=rank, world_size=ranks, device=device, group=group)


def _meet(
    config: VllmConfig, backend: str, *, rank: int, ranks: int, init_method: str
) -> torch.distributed.ProcessGroup:
    """The default group: the tensor-parallel ranks are the whole world."""
    import torch.distributed as dist

    timeout_s = config.parallel_config.distributed_timeout_s
    try:
        dist.init_process_group(
            backend, init_method=init_method, rank=rank, world_size=ranks, timeout=timedelta(seconds=timeout_s)
        )
    except (RuntimeError, ValueError) as error:
        raise WorkerError(
            f"Rank {rank} of {ranks} could not join the others by {backend} at {init_method}: {error}",
            cause=f"another rank failed, or came later than {timeout_s:g} s (distributed_timeout_s)",
        ) from error
    group = dist.group.WORLD
    assert group is not None, "init_process_group made no default group"
    return group
