"""Owns what `collective_rpc` may name: a method of the worker's class, or a function that takes the worker."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from functools import partial
from typing import Any

from vllm.errors import InvalidRequestError, RpcTimeoutError, near_names
from vllm.worker.worker_base import WorkerBase

__all__ = ["UNPICKLABLE", "cannot_travel", "name_of", "rpc_timeout", "worker_function"]

UNPICKLABLE = (pickle.PicklingError, TypeError, AttributeError)
"""What pickle raises for a function or class that has no name to be found by."""


def worker_function(worker: WorkerBase, method: str | Callable[..., Any]) -> Callable[..., Any]:
    """`method` bound to `worker`. A name is looked up on the worker (its class and `worker_extension_cls`)."""
    if callable(method):
        return partial(method, worker)
    function = getattr(worker, method, None)
    if not callable(function):
        raise InvalidRequestError(
            f"collective_rpc asks for {method!r}, but {type(worker).__name__} has no such method.",
            parameter="method",
            remedy="add it through worker_extension_cls, or pass a function whose first argument is the worker",
            candidates=near_names(method, dir(worker)),
        )
    return function


def cannot_travel(what: str, to: str, error: Exception) -> InvalidRequestError:
    """The error of a call that cannot be pickled. `to`: "worker processes"."""
    return InvalidRequestError(
        f"{what} and its arguments cannot be sent to {to}: {error}",
        remedy="use functions and classes that are defined at the top level of a module, not lambdas or inner functions",
    )


def rpc_timeout(method: str | Callable[..., Any], timeout_s: float, waiting_for: str) -> RpcTimeoutError:
    """The error of a call that took too long."""
    return RpcTimeoutError(
        f"collective_rpc({name_of(method)}) was not answered within {timeout_s:g} s by {waiting_for}.",
        remedy="give it a longer timeout; the call itself goes on and cannot be taken back",
    )


def name_of(method: str | Callable[..., Any]) -> str:
    """How an error text calls it."""
    return method if isinstance(method, str) else getattr(method, "__qualname__", repr(method))
