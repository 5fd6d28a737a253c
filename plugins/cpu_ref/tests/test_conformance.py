"""cpu_ref keeps every law of the kit, in every dtype."""

from __future__ import annotations

from vllm.testing import PlatformConformance


class TestCpuRef(PlatformConformance):
    """The whole kit."""

    platform = "cpu_ref"
