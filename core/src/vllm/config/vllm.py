"""The whole configuration, as every part of the engine receives it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from vllm.config.cache import CacheConfig
from vllm.config.load import LoadConfig
from vllm.config.model import ModelConfig
from vllm.config.parallel import ParallelConfig
from vllm.config.scheduler import SchedulerConfig

__all__ = ["CompilationConfig", "ObservabilityConfig", "VllmConfig"]


@dataclass(frozen=True, kw_only=True)
class CompilationConfig:
    """Captured or compiled forward."""

    capture_sizes: tuple[int, ...] = ()
    """Decode batch sizes to capture, ascending; empty = what the platform's constraints say."""


@dataclass(frozen=True, kw_only=True)
class ObservabilityConfig:
    """Statistics."""

    log_stats: bool = False
    log_stats_interval_s: float = 10.0


@dataclass(frozen=True, kw_only=True)
class VllmConfig:
    """One engine's configuration. Frozen: `Platform.check_and_update_config` returns a changed copy."""

    model_config: ModelConfig
    cache_config: CacheConfig = field(default_factory=CacheConfig)
    scheduler_config: SchedulerConfig = field(default_factory=SchedulerConfig)
    parallel_config: ParallelConfig = field(default_factory=ParallelConfig)
    load_config: LoadConfig = field(default_factory=LoadConfig)
    compilation_config: CompilationConfig = field(default_factory=CompilationConfig)
    observability_config: ObservabilityConfig = field(default_factory=ObservabilityConfig)
    platform: str = ""
    """Dotted path of the Platform class; workers in other processes load it from here, without discovery."""
    attention_backend: str | None = None
    """Dotted path of an AttentionBackend; None = what the platform names."""
    additional_config: Mapping[str, Any] = field(default_factory=dict)
    """Whatever `--additional-config` gave; for plugins."""
    change_reasons: Mapping[str, str] = field(default_factory=dict)
    """Why a field is what it is: "cache_config.block_size" -> the reason that `with_changes` was given."""

    def with_changes(self, reason: str | None = None, **sections: Mapping[str, Any]) -> VllmConfig:
        """A copy with fields of sections replaced: `config.with_changes("the kernel's tile", cache_config={"block_size": 128})`.

        `reason` is a clause; it stands behind the change in the log.
        """
        changed = {name: replace(getattr(self, name), **changes) for name, changes in sections.items()}
        fields = [f"{section}.{name}" for section, changes in sections.items() for name in changes]
        reasons = {**self.change_reasons, **({} if reason is None else dict.fromkeys(fields, reason))}
        return replace(self, **changed, change_reasons=reasons)
