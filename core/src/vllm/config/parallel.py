"""How many workers, and who runs them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ParallelConfig"]


@dataclass(frozen=True, kw_only=True)
class ParallelConfig:
    """World layout. One worker process (or the engine's own, with `uni`) per rank."""

    tensor_parallel_size: int = 1
    pipeline_parallel_size: int = 1
    data_parallel_size: int = 1
    distributed_executor_backend: str = "uni"
    """uni | mp | dotted path of an ExecutorBase subclass; resolved, never "auto" here."""
    worker_cls: str | None = None
    """Dotted path; None = what the platform names."""
    worker_extension_cls: str | None = None
    """Dotted path of a mix-in class whose methods `collective_rpc` may call."""
    distributed_timeout_s: float = 60.0

    @property
    def world_size(self) -> int:
        """Number of workers of one engine."""
        return self.tensor_parallel_size * self.pipeline_parallel_size
