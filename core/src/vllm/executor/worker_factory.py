"""Owns how a process becomes a worker: from a configuration alone, with no discovery, in any process.

Order: torch is kept from loading vendors by itself → the configured platform loads its backend → the process is set up (threads, vendor
environment) → kernels → general plugins (models, logits processors) → the worker's class, with the user's extension mixed in.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from vllm.errors import ConfigError
from vllm.logger import init_logger
from vllm.platforms.resolution import adopt_platform
from vllm.plugins.dotted import load_subclass
from vllm.plugins.loading import load_general_plugins
from vllm.worker.worker_base import WorkerBase

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.platforms.interface import Platform

__all__ = ["create_worker", "load_platform", "worker_class"]

logger = init_logger(__name__)


def create_worker(config: VllmConfig, *, rank: int, local_rank: int, init_method: str) -> WorkerBase:
    """Prepare this process and make its worker, which has not touched its device yet."""
    platform = load_platform(config.platform)
    platform.init_worker_process(config, local_rank)
    platform.import_kernels()
    load_general_plugins()
    return worker_class(config, platform)(config, rank=rank, local_rank=local_rank, init_method=init_method)


@functools.cache
def load_platform(path: str) -> Platform:
    """The platform named by `config.platform`, its torch backend loaded; once per process."""
    platform = adopt_platform(path)
    platform.load_backend()
    return platform


def worker_class(config: VllmConfig, platform: Platform) -> type[WorkerBase]:
    """What the user names, else what the platform names; with `worker_extension_cls` as a further base."""
    parallel = config.parallel_config
    option = "worker_cls" if parallel.worker_cls else f"{type(platform).__name__}.get_worker_cls()"
    path = parallel.worker_cls or platform.get_worker_cls()
    worker_cls: type[WorkerBase] = load_subclass(path, WorkerBase, option=option)
    if parallel.worker_extension_cls is None:
        return worker_cls
    return _extended(worker_cls, _extension(parallel.worker_extension_cls))


def _extension(path: str) -> type:
    return load_subclass(path, object, option="worker_extension_cls")


def _extended(worker_cls: type[WorkerBase], extension: type) -> type[WorkerBase]:
    """`worker_cls` with the methods of `extension`, which may add names and replace none."""
    clashes = sorted(_own_names(extension) & set(dir(worker_cls)))
    if clashes:
        raise ConfigError(
            f"worker_extension_cls {extension.__qualname__} defines {', '.join(clashes)}, which {worker_cls.__qualname__} has already.",
            cause="an extension adds methods for collective_rpc; it cannot replace what the engine calls",
            remedy="rename them, or subclass the worker and pass it as worker_cls",
        )
    logger.info("Worker class %s is extended by %s", worker_cls.__qualname__, extension.__qualname__)
    return type(f"{worker_cls.__name__}With{extension.__name__}", (worker_cls, extension), {})


def _own_names(extension: type) -> set[str]:
    """Every name that the class or its bases define, but for Python's own double-underscore names."""
    names = {name for cls in extension.__mro__ if cls is not object for name in vars(cls)}
    return {name for name in names if not (name.startswith("__") and name.endswith("__"))}
