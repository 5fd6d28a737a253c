"""Owns calls of the engine core's methods from the front: each is a message with a number, and its answer comes back with the number."""

from __future__ import annotations

import asyncio
import itertools
import pickle
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from vllm.engine.core import EngineCore
from vllm.engine.core_client.messages import Call, Returned
from vllm.executor.remote_error import unpack_error
from vllm.executor.rpc import UNPICKLABLE, cannot_travel, name_of

__all__ = ["CoreCalls"]

P = ParamSpec("P")
T = TypeVar("T")


class CoreCalls:
    """Those that wait for their answers, in tasks of one event loop."""

    def __init__(self, core: str) -> None:
        """`core` names who is asked, in errors."""
        self._core = core
        self._numbers = itertools.count()
        self._answers: dict[int, asyncio.Future[Any]] = {}

    def __len__(self) -> int:
        return len(self._answers)

    def begin(
        self, method: Callable[Concatenate[EngineCore, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[Call, asyncio.Future[T]]:
        """What is to be sent, and the answer to come. Raises InvalidRequestError for what cannot be sent."""
        try:
            pickled = pickle.dumps((method, args, kwargs))
        except UNPICKLABLE as error:
            raise cannot_travel(name_of(method), "the engine core's process", error) from error
        call = Call(next(self._numbers), pickled)
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._answers[call.number] = answer
        return call, answer

    def take(self, message: Returned) -> None:
        """An answer has come; whoever waited may have left."""
        answer = self._answers.pop(message.number)
        if answer.cancelled():
            return
        try:
            value = pickle.loads(message.value)
        except Exception as error:  # noqa: BLE001 - the caller's own class failed; the engine is well
            answer.set_exception(error)
            return
        if message.failed:
            answer.set_exception(unpack_error(value, self._core))
        else:
            answer.set_result(value)

    def fail(self, make_error: Callable[[], BaseException]) -> None:
        """No answer comes any more; each caller gets an error of its own."""
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(make_error())
        self._answers.clear()
