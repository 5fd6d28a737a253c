"""The NPU keeps every law of the kit, in both of its dtypes."""

from __future__ import annotations

from vllm.testing import PlatformConformance


class TestAscend(PlatformConformance):
    """The whole kit."""

    platform = "ascend"
