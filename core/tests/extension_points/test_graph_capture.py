"""Graph capture from outside: `Platform.get_captured_forward_cls`. The core chooses the bucket and pads; the class records and replays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch

from core.tests.extension_points.engines import example_engine, generated, plain_tokens
from vllm.platforms import Capability, Feature
from vllm.worker.captured_forward import CapturedForward
from vllm_cpu_ref.platform import CpuRefPlatform


class StaticBuffers(CapturedForward):
    """As a device graph: the inputs' addresses never change, so a replay copies into those of the recording."""

    captured: ClassVar[list[int]] = []
    replayed: ClassVar[list[int]] = []

    def __init__(self, forward: Any, device: torch.device) -> None:
        super().__init__(forward, device)
        self._inputs: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def capture(
        self, bucket_rows: int, input_ids_T: torch.Tensor, positions_T: torch.Tensor, kv_caches: Any, metadata: Any
    ) -> None:
        self.captured.append(bucket_rows)
        self._inputs[bucket_rows] = input_ids_T.clone(), positions_T.clone()
        self.forward(*self._inputs[bucket_rows], kv_caches, metadata)

    def replay(
        self, bucket_rows: int, input_ids_T: torch.Tensor, positions_T: torch.Tensor, kv_caches: Any, metadata: Any
    ) -> torch.Tensor:
        self.replayed.append(bucket_rows)
        for static, new in zip(self._inputs[bucket_rows], (input_ids_T, positions_T), strict=True):
            static.copy_(new)
        return self.forward(*self._inputs[bucket_rows], kv_caches, metadata)


class CapturingPlatform(CpuRefPlatform):
    def capabilities(self) -> Mapping[Feature, Capability]:
        return {**super().capabilities(), Feature.GRAPH_CAPTURE: Capability.full()}

    def get_captured_forward_cls(self) -> str:
        return f"{__name__}.StaticBuffers"


def test_decodes_are_replayed_in_the_next_larger_bucket() -> None:
    StaticBuffers.captured.clear()
    StaticBuffers.replayed.clear()
    with example_engine(CapturingPlatform, cudagraph_capture_sizes=(1, 4)) as engine:
        assert StaticBuffers.captured == [4, 1], "largest first"
        assert generated(engine) == plain_tokens()
    assert StaticBuffers.replayed == [4] * 11, "three rows, eleven decode steps"


def test_eager_on_request() -> None:
    StaticBuffers.captured.clear()
    with example_engine(CapturingPlatform, enforce_eager=True) as engine:
        assert generated(engine) == plain_tokens()
    assert StaticBuffers.captured == []
