"""A platform that survives errors in steps, but not those that speak of a fan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from core.tests.executor.fake_worker import FakePlatform, fake_config
from vllm.config import VllmConfig
from vllm.platforms.capabilities import Capability, Feature
from vllm.platforms.device_fault import DeviceFault


class ForgivingPlatform(FakePlatform):
    """Declares step recovery; knows one fault of its device."""

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {Feature.STEP_RECOVERY: Capability.full()}

    def device_fault(self, error: Exception) -> DeviceFault | None:
        return DeviceFault(what="host:0 failed") if "fan" in str(error) else None


def forgiving_config(world_size: int = 1, **options: Any) -> VllmConfig:
    return replace(fake_config(world_size, **options), platform=f"{__name__}.ForgivingPlatform")
