"""Owns the engine's view of one worker process."""

from __future__ import annotations

from collections.abc import Mapping

from vllm.errors import WorkerDiedError
from vllm.executor.child_process import ChildProcess

__all__ = ["WorkerHandle"]


class WorkerHandle(ChildProcess):
    """A process that runs `worker_process.main`."""

    died_error = WorkerDiedError

    def __init__(self, rank: int, *, inherit: tuple[int, ...], environment: Mapping[str, str]) -> None:
        """Start the process; see ChildProcess."""
        self.rank = rank
        super().__init__(f"VllmWorker-{rank}", "vllm.executor.worker_process", inherit=inherit, environment=environment)

    def __str__(self) -> str:
        return f"Worker {self.rank} (pid {self.process.pid})"
