"""Owns the choice of the executor: `parallel_config.distributed_executor_backend` names one of ours or a class."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.errors import ConfigError, near_names
from vllm.executor.base import ExecutorBase
from vllm.plugins.dotted import load_subclass

if TYPE_CHECKING:
    from vllm.config import VllmConfig

__all__ = ["EXECUTORS", "create_executor", "executor_class"]

EXECUTORS = {
    "uni": "vllm.executor.uniproc.UniProcExecutor",
    "mp": "vllm.executor.multiproc.MultiprocExecutor",
}


def create_executor(config: VllmConfig) -> ExecutorBase:
    """The executor that `config` asks for, its workers created; `start_workers` comes next."""
    return executor_class(config.parallel_config.distributed_executor_backend)(config)


def executor_class(backend: str) -> type[ExecutorBase]:
    """The class of a backend: "uni", "mp", or a dotted path of an ExecutorBase subclass."""
    if backend not in EXECUTORS and "." not in backend:
        raise ConfigError(
            f"distributed_executor_backend is {backend!r}, which is neither one of {', '.join(EXECUTORS)} nor a dotted path.",
            remedy="leave it out (uni for one worker, mp for several), or name a subclass of vllm.executor.base.ExecutorBase",
            candidates=near_names(backend, EXECUTORS),
        )
    path = EXECUTORS.get(backend, backend)
    return load_subclass(path, ExecutorBase, option="distributed_executor_backend")
