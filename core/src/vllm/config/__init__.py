"""Configuration: one frozen dataclass per concern, built once by `EngineArgs.create_engine_config()`, then only read.

No torch here: the configuration is checked before anything heavy is imported.
"""

from __future__ import annotations

from vllm.config.cache import CacheConfig
from vllm.config.load import LoadConfig
from vllm.config.model import ModelConfig
from vllm.config.parallel import ParallelConfig
from vllm.config.scheduler import SchedulerConfig
from vllm.config.vllm import CompilationConfig, ObservabilityConfig, VllmConfig

__all__ = [
    "CacheConfig",
    "CompilationConfig",
    "LoadConfig",
    "ModelConfig",
    "ObservabilityConfig",
    "ParallelConfig",
    "SchedulerConfig",
    "VllmConfig",
]
