"""Owns a platform that sleeps: the host as a device whose memory is really taken, and counted by itself. No torch here.

All that it has beyond cpu_ref is the declaration, and numbers about memory that other programs do not disturb.
"""

from __future__ import annotations

from collections.abc import Mapping

from vllm.platforms import Capability, Feature
from vllm_cpu_ref.platform import CpuRefPlatform

__all__ = ["SleepingPlatform"]

DEVICE_BYTES = 2**36


class SleepingPlatform(CpuRefPlatform):
    """Declares sleep mode; the core's worker does the rest."""

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {**super().capabilities(), Feature.SLEEP_MODE: Capability.full()}

    def get_model_runner_cls(self) -> str:
        return "core.tests.sleeping_runner.DeviceLikeRunner"

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        import psutil

        return DEVICE_BYTES - int(psutil.Process().memory_info().rss), DEVICE_BYTES
