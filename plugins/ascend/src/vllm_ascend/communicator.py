"""Owns how ranks on NPUs exchange tensors: torch.distributed over HCCL, queued on the device like any operator, captured in graphs too."""

from __future__ import annotations

import torch
import torch_npu

from vllm.distributed.device_communicators.torch_communicator import TorchCommunicator

__all__ = ["NPUCommunicator"]


class NPUCommunicator(TorchCommunicator):
    """HCCL's process group. What it cannot reduce travels as the next wider type."""

    def _all_reduce(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype is torch.bool:
            return super()._all_reduce(tensor.to(torch.int8)).bool()
        return super()._all_reduce(tensor)

    def _barrier(self) -> None:
        """A sum whose arrival the host waits for."""
        self._all_reduce(torch.zeros(1, device=self.device))
        torch_npu.npu.current_stream().synchronize()
