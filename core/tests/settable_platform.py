"""Owns a platform for tests of the configuration: it can do everything, but for what a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vllm.config import VllmConfig
from vllm.platforms.capabilities import Capability, Feature
from vllm.platforms.constraints import SchedulingConstraints
from vllm.platforms.interface import Platform

ALL = {feature: Capability.full() for feature in Feature}


class SettablePlatform(Platform):
    """A platform that can do everything, but for what a test says."""

    name = "settable"
    device_type = "cpu"

    def __init__(
        self,
        *,
        constraints: SchedulingConstraints | None = None,
        capabilities: Mapping[Feature, Capability] | None = None,
        devices: int = 8,
        change: Callable[[VllmConfig], Any] = lambda config: config,
    ) -> None:
        self._constraints = constraints or SchedulingConstraints()
        self._capabilities = {**ALL, **(capabilities or {})}
        self._devices = devices
        self._change = change

    def get_device_name(self, device_id: int = 0) -> str:
        return "settable"

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        return (2**30, 2**30)

    def supported_dtypes(self) -> tuple[str, ...]:
        return ("bfloat16", "float32")

    def get_attn_backend_cls(self) -> str:
        return "nowhere.Backend"

    def capabilities(self) -> Mapping[Feature, Capability]:
        return self._capabilities

    def scheduling_constraints(self, config: VllmConfig) -> SchedulingConstraints:
        return self._constraints

    def device_count(self) -> int:
        return self._devices

    def check_and_update_config(self, config: VllmConfig) -> Any:
        return self._change(config)
