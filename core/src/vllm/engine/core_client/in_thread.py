"""Owns the engine core in a thread of the front's own process (`VLLM_ENABLE_V1_MULTIPROCESSING=0`): for debuggers and profilers."""

from __future__ import annotations

import asyncio
import pickle
import queue
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from vllm.engine.core_client.grammar_thread import Compiled
from vllm.engine.core_client.interface import CoreClient, Receiver
from vllm.engine.core_client.loop import CoreLoop
from vllm.engine.core_client.messages import Died, FromCore, Started, Stop, ToCore
from vllm.errors import EngineDeadError
from vllm.executor.remote_error import pack_error, unpack_error

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.engine.core import EngineCore

__all__ = ["ThreadClient"]

CLOSE_s = 30.0


class _Queue:
    """The inbox between the two threads."""

    def __init__(self) -> None:
        self._messages: queue.SimpleQueue[ToCore | Compiled] = queue.SimpleQueue()
        self.put = self._messages.put

    def take(self, *, block: bool) -> list[ToCore | Compiled]:
        taken = [self._messages.get()] if block else []
        while not self._messages.empty():
            taken.append(self._messages.get())
        return taken


class ThreadClient(CoreClient):
    """The core is built and used by its thread alone."""

    def __init__(self, make_core: Callable[[], EngineCore]) -> None:
        """Start building the core, in its thread."""
        self._inbox = _Queue()
        self._first: queue.SimpleQueue[FromCore] = queue.SimpleQueue()
        self._deliver: Callable[[FromCore], None] = self._first.put
        self._closing = False
        self._thread = threading.Thread(target=self._run, args=(make_core,), name="EngineCore", daemon=True)
        self._thread.start()

    @property
    def description(self) -> str:
        return "EngineCore (a thread of this process)"

    def wait_until_ready(self) -> VllmConfig:
        message = self._first.get()
        if isinstance(message, Died):
            raise unpack_error(pickle.loads(message.error), self.description)
        assert isinstance(message, Started)
        config: VllmConfig = pickle.loads(message.config)
        return config

    def listen(self, receiver: Receiver) -> None:
        loop = asyncio.get_running_loop()

        def deliver(message: FromCore) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(receiver, message)

        self._deliver = deliver
        while not self._first.empty():
            deliver(self._first.get())

    def send(self, message: ToCore) -> None:
        self._inbox.put(message)

    def close(self) -> None:
        self._closing = True
        self._inbox.put(Stop())
        self._thread.join(CLOSE_s)

    def _run(self, make_core: Callable[[], EngineCore]) -> None:
        try:
            core = make_core()
        except BaseException as error:  # noqa: BLE001 - raised again by wait_until_ready
            self._deliver(Died(pickle.dumps(pack_error(error))))
            return
        try:
            CoreLoop(core, self._inbox, self._send).run()
        except BaseException as error:
            dead = EngineDeadError(f"The engine core's thread ended: {type(error).__name__}: {error}")
            self._send(Died(pickle.dumps(pack_error(dead))))
            raise
        finally:
            core.shutdown()

    def _send(self, message: FromCore) -> None:
        if not self._closing:
            self._deliver(message)
