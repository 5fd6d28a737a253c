"""Owns the choice of the scheduler class: the core's own, or `scheduler_cls`."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from vllm.engine.scheduler.interface import SchedulerInterface
from vllm.errors import ConfigError

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.platforms.constraints import SchedulingConstraints
    from vllm.worker.kv_cache_spec import KVCacheConfig

__all__ = ["create_scheduler"]


def create_scheduler(
    config: VllmConfig,
    kv_cache_config: KVCacheConfig,
    constraints: SchedulingConstraints,
    *,
    max_inflight_steps: int = 1,
) -> SchedulerInterface:
    """The engine's scheduler."""
    cls = _scheduler_cls(config.scheduler_config.scheduler_cls)
    return cls(config, kv_cache_config, constraints, max_inflight_steps=max_inflight_steps)


def _scheduler_cls(path: str | None) -> type[SchedulerInterface]:
    if path is None:
        from vllm.engine.scheduler.scheduler import Scheduler

        return Scheduler
    module_name, _, class_name = path.replace(":", ".").rpartition(".")
    try:
        cls = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"--scheduler-cls {path!r} cannot be loaded: {error}") from error
    if not (isinstance(cls, type) and issubclass(cls, SchedulerInterface)):
        raise ConfigError(f"--scheduler-cls {path!r} is no subclass of vllm.engine.scheduler.interface.SchedulerInterface")
    return cls
