"""Owns how ranks on NPUs exchange tensors: torch.distributed over HCCL, queued on the device like any operator, captured in graphs too."""

from __future__ import annotations

from vllm.distributed.device_communicators.torch_communicator import TorchCommunicator

__all__ = ["NPUCommunicator"]


class NPUCommunicator(TorchCommunicator):
    """HCCL's process group."""
