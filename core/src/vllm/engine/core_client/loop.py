"""Owns the engine core's life between its messages: take what has come, step while there is work, tell what happened.

A request that wants a grammar comes twice: its `Add` goes to the thread that compiles, and comes back as `Compiled`.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from vllm.engine.core_client.grammar_thread import Compiled, GrammarThread
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
    from vllm.sampling.structured_output import GrammarState

__all__ = ["CoreLoop", "Inbox"]

logger = init_logger(__name__)


class Inbox(Protocol):
    """Where messages for the core arrive."""

    def take(self, *, block: bool) -> list[ToCore | Compiled]:
        """All that have come; with `block`, only after something came."""

    def put(self, message: Compiled) -> None:
        """Add a message from inside. From any thread."""


class CoreLoop:
    """Drives one EngineCore from one thread until `Stop`, or until a step fails."""

    def __init__(self, core: EngineCore, inbox: Inbox, send: Callable[[FromCore], None]) -> None:
        self._core, self._inbox, self._send = core, inbox, send
        self._grammars = GrammarThread(core.compile_grammar, inbox.put)
        self._aborted: dict[str, FinishReason] = {}
        """Outputs that were ended while their grammar was compiled."""
        self._compiling: set[str] = set()

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
        finally:
            self._grammars.close()
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
                    self._take(message)
                case Compiled():
                    self._take_compiled(message)
                case Abort():
                    self._abort(message)
                case Call():
                    self._send(self._call(message))
        return True

    def _take(self, message: Add) -> None:
        if message.requests[0].sampling.structured_outputs is None:
            self._add(message, [None] * len(message.requests))
            return
        self._compiling.update(each.request_id for each in message.requests)
        self._grammars.put(message)

    def _take_compiled(self, message: Compiled) -> None:
        """Outputs that were ended meanwhile are begun and ended: whoever counts ends hears of them as of all others."""
        ids = [each.request_id for each in message.add.requests]
        self._compiling.difference_update(ids)
        aborted = {request_id: self._aborted.pop(request_id) for request_id in ids if request_id in self._aborted}
        if message.error is not None:
            self._refuse(ids, message.error)
            return
        self._add(message.add, message.grammars)
        for request_id, reason in aborted.items():
            self._core.abort_requests([request_id], reason)

    def _abort(self, message: Abort) -> None:
        self._aborted |= {each: message.reason for each in message.request_ids if each in self._compiling}
        self._core.abort_requests(message.request_ids, message.reason)

    def _add(self, message: Add, grammars: Sequence[GrammarState | None]) -> None:
        ids, taken = [each.request_id for each in message.requests], []
        try:
            for request, grammar in zip(message.requests, grammars, strict=True):
                self._core.add_request(request, grammar)
                taken.append(request.request_id)
        except Exception as error:
            if not isinstance(error, VllmError):
                logger.exception("A request could not be taken")
                taken = ids  # the scheduler, perhaps a plugin's, may have taken it half-way
            self._core.abort_requests(taken, FinishReason.ABORT)
            self._refuse(ids, error)

    def _refuse(self, request_ids: list[str], error: BaseException) -> None:
        self._send(Refused(request_ids, pickle.dumps(pack_error(error))))

    def _call(self, message: Call) -> Returned:
        try:
            method, args, kwargs = pickle.loads(message.call)
            value: Any = method(self._core, *args, **kwargs)
            return Returned(message.number, pickle.dumps(value), failed=False)
        except Exception as error:  # noqa: BLE001 - raised again in the front
            return Returned(message.number, pickle.dumps(pack_error(error)), failed=True)
