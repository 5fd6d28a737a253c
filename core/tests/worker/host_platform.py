"""Owns platforms of the worker's tests: the host with the dense oracle as attention, plain, with buckets, and with captured decodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch

from vllm.attention.backends.abstract import AttentionBatch
from vllm.config import VllmConfig
from vllm.platforms import Capability, Feature, Platform, SchedulingConstraints
from vllm.testing.dense_attention import DenseAttention, DenseMetadata
from vllm.worker.captured_forward import CapturedForward

GIB = 2**30


class HostPlatform(Platform):
    """Tells made-up but fixed memory numbers."""

    name = "host"
    device_type = "cpu"

    def get_device_name(self, device_id: int = 0) -> str:
        return "host"

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        return 6 * GIB, 10 * GIB

    def supported_dtypes(self) -> tuple[str, ...]:
        return ("float32", "bfloat16")

    def get_attn_backend_cls(self) -> str:
        return "vllm.testing.dense_attention.DenseAttention"

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {}


class BucketPlatform(HostPlatform):
    """Wants decode steps of 1, 4 or 8 rows and other steps of 16 or 64 tokens."""

    def scheduling_constraints(self, config: VllmConfig) -> SchedulingConstraints:
        return SchedulingConstraints(decode_batch_buckets=(1, 4, 8), token_buckets=(16, 64))


class CapturePlatform(HostPlatform):
    """Captures decode steps; has no buckets of its own, so the user's capture sizes count."""

    def get_attn_backend_cls(self) -> str:
        return f"{__name__}.RecordingAttention"

    def get_captured_forward_cls(self) -> str:
        return f"{__name__}.BufferedForward"


class MeasuringPlatform(HostPlatform):
    """A device that can tell its peak: 1 GiB at rest, 3 GiB in the largest step."""

    def __init__(self) -> None:
        self._peaks = iter((1 * GIB, 3 * GIB))

    def peak_memory_bytes(self) -> int:
        return next(self._peaks)


class RecordingAttention(DenseAttention):
    """Keeps the block tables that it was given, so that a test sees where padding rows point."""

    batches: ClassVar[list[AttentionBatch]] = []

    def build_metadata(self, batch: AttentionBatch) -> DenseMetadata:
        self.batches.append(replace(batch, block_table_NB=batch.block_table_NB.copy()))
        return super().build_metadata(batch)


class BufferedForward(CapturedForward):
    """Captures as a device graph does: fixed input buffers per row count, into which a replay copies."""

    replays: ClassVar[list[int]] = []

    def __init__(self, forward: Any, device: torch.device) -> None:
        super().__init__(forward, device)
        self._buffers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def capture(
        self, bucket_rows: int, input_ids_T: torch.Tensor, positions_T: torch.Tensor, kv_caches: Any, metadata: Any
    ) -> None:
        assert len(input_ids_T) == len(positions_T) == bucket_rows
        self._buffers[bucket_rows] = input_ids_T, positions_T
        self.forward(input_ids_T, positions_T, kv_caches, metadata)

    def replay(
        self, bucket_rows: int, input_ids_T: torch.Tensor, positions_T: torch.Tensor, kv_caches: Any, metadata: Any
    ) -> torch.Tensor:
        self.replays.append(bucket_rows)
        for buffer, value in zip(self._buffers[bucket_rows], (input_ids_T, positions_T), strict=True):
            buffer.copy_(value)
        return self.forward(*self._buffers[bucket_rows], kv_caches, metadata)
