"""Captured decode steps on the device: what a replay gives, what it leaves of the recording before, and what recordings cost."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.npu


@pytest.fixture(scope="module")
def layer() -> object:
    from plugins.ascend.tests.recordings import OneLayer
    from vllm.executor.worker_factory import load_platform
    from vllm_ascend.graph import AclGraphForward

    load_platform("vllm_ascend.platform.AscendPlatform")
    return OneLayer(AclGraphForward)


def test_replays_in_a_row_give_what_eager_steps_give(layer) -> None:
    import torch

    from plugins.ascend.tests.recordings import STEPS

    for replayed, eager in zip(layer.replayed(STEPS), layer.eagerly(STEPS), strict=True):
        assert torch.equal(replayed, eager)


def test_what_recordings_cost_is_counted(layer) -> None:
    import torch

    free_bytes, total_bytes = torch.npu.mem_get_info()
    assert 0 < layer.captured.memory_bytes() <= total_bytes - free_bytes
