"""Owns the executor of the kit's engines of several ranks: every stage has a time limit, and a plugin that hangs in one ends its law."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from vllm.errors import RpcTimeoutError, WorkerError
from vllm.executor.multiproc import MultiprocExecutor
from vllm.worker.worker_base import WorkerBase

__all__ = ["BOUNDED", "BoundedExecutor"]

P = ParamSpec("P")
T = TypeVar("T")
BOUNDED = f"{__name__}.BoundedExecutor"
"""For `distributed_executor_backend`."""
STAGE_TIMEOUT_s = 300.0
"""The embedded model loads in a second; a compiler may take minutes to warm it up."""


class BoundedExecutor(MultiprocExecutor):
    """Birth and steps have limits anyway; here the calls of the worker contract have one, too."""

    def call(self, method: Callable[Concatenate[WorkerBase, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        """Ends all processes where a rank is late: nothing else would."""
        try:
            values: list[Any] = self.collective_rpc(method, STAGE_TIMEOUT_s, args, kwargs)
        except RpcTimeoutError as error:
            self.shutdown()
            raise WorkerError(
                f"The stage {method.__name__} was not finished in time: {error.what}",
                cause="one rank waits for something that never comes, and the others may wait for that rank",
            ) from error
        return values
