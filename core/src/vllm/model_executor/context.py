"""What a model needs to know while it is built: passed down explicitly, so that no layer reads global state."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vllm.model_executor.loader.names import CheckpointNames

if TYPE_CHECKING:
    import torch

    from vllm.attention.backends.abstract import AttentionBackend
    from vllm.config import VllmConfig
    from vllm.distributed.device_communicators.base_communicator import CommunicatorBase
    from vllm.model_executor.custom_op import OpSet

__all__ = ["ModelContext"]


@dataclass(frozen=True, kw_only=True)
class ModelContext:
    """Handed to every model and layer constructor. Parameters are created on `device` in `dtype`."""

    config: VllmConfig
    ops: OpSet
    tp: CommunicatorBase
    """The tensor-parallel group: `tp.rank`, `tp.world_size`, collectives."""
    attention: AttentionBackend[Any]
    dtype: torch.dtype
    device: torch.device
    checkpoint_names: CheckpointNames = field(default_factory=CheckpointNames)
    """How the model's checkpoints call things; `build_model` takes it from the model's class."""
