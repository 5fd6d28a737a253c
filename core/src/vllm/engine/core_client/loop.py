"""Owns the engine core's life between its messages: take what has come, step while there is work, tell what happened."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from vllm.engine.core_client.messages import (
    Abort,
    Add,
    Call,
    Died,
    FromCore,
    Refused,
    Returned,
    Started,
    Stepped,
    Stop,
    ToCore,
)
from vllm.errors import VllmError
from vllm.executor.remote_error import pack_error
from vllm.logger import init_logger
from vllm.messages import FinishReason

if TYPE_CHECKING:
    from vllm.engine.core import EngineCore

__all__ = ["CoreLoop", "Inbox"]

logger = init_logger(__name__)


class Inbox(Protocol):
    """Where messages for the core arrive."""

    def take(self, *, block: bool) -> list[ToCore]:
        """All that have come; with `block`, at least one."""


class CoreLoop:
    """Drives one EngineCore from one thread until `Stop`, or until a step fails."""

    def __init__(self, core: EngineCore, inbox: Inbox, send: Callable[[FromCore], None]) -> None:
        self._core, self._inbox, self._send = core, inbox, send

    def run(self) -> bool:
        """Until told to stop; False if the engine died instead (`Died` has been sent)."""
        self._send(Started(pickle.dumps(self._core.config)))
        try:
            while self._take_messages():
                if self._core.has_unfinished_requests():
                    self._step()
        except Exception as error:
            if not isinstance(error, VllmError):
                logger.exception("The engine core failed")
            self._send(Died(pickle.dumps(pack_error(error))))
            return False
        return True

    def _step(self) -> None:
        output = self._core.step()
        if output is not None:
            self._send(Stepped(output, self._core.stats()))

    def _take_messages(self) -> bool:
        """Carry out what has come; False if that was to stop."""
        for message in self._inbox.take(block=not self._core.has_unfinished_requests()):
            match message:
                case Stop():
                    return False
                case Add():
                    self._add(message)
                case Abort():
                    self._core.abort_requests(message.request_ids, message.reason)
                case Call():
                    self._send(self._call(message))
        return True

    def _add(self, message: Add) -> None:
        taken: list[str] = []
        try:
            for request in message.requests:
                self._core.add_request(request)
                taken.append(request.request_id)
        except VllmError as error:
            self._core.abort_requests(taken, FinishReason.ABORT)
            self._send(Refused([each.request_id for each in message.requests], pickle.dumps(pack_error(error))))

    def _call(self, message: Call) -> Returned:
        try:
            method, args, kwargs = pickle.loads(message.call)
            value: Any = method(self._core, *args, **kwargs)
            return Returned(message.number, pickle.dumps(value), failed=False)
        except Exception as error:  # noqa: BLE001 - raised again in the front
            return Returned(message.number, pickle.dumps(pack_error(error)), failed=True)
