"""Owns the choice of the scheduler class: the core's own, or `scheduler_cls`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.engine.scheduler.interface import SchedulerInterface
from vllm.plugins.dotted import load_subclass

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.platforms.constraints import SchedulingConstraints
    from vllm.worker.kv_cache_spec import KVCacheConfig

__all__ = ["create_scheduler", "scheduler_class"]


def create_scheduler(
    config: VllmConfig,
    kv_cache_config: KVCacheConfig,
    constraints: SchedulingConstraints,
    *,
    max_inflight_steps: int = 1,
) -> SchedulerInterface:
    """The engine's scheduler."""
    cls = scheduler_class(config.scheduler_config.scheduler_cls)
    return cls(config, kv_cache_config, constraints, max_inflight_steps=max_inflight_steps)


def scheduler_class(path: str | None) -> type[SchedulerInterface]:
    """The class that `path` names, the core's own for None. Raises ConfigError."""
    if path is not None:
        return load_subclass(path, SchedulerInterface, option="--scheduler-cls")
    from vllm.engine.scheduler.scheduler import Scheduler

    return Scheduler
