"""The program of the engine core's process: build the core, then run its loop over a ZeroMQ socket."""

from __future__ import annotations

import faulthandler
import os
import pickle
import queue
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

import zmq

from vllm.engine.core_client.grammar_thread import Compiled
from vllm.engine.core_client.loop import CoreLoop
from vllm.engine.core_client.messages import Died, FromCore, ToCore
from vllm.engine.core_client.wire import decode_to_core, encode
from vllm.executor.main_module import use_main
from vllm.executor.os_process import die_with_engine, ignore_interrupts, name_process
from vllm.executor.remote_error import pack_error
from vllm.logger import set_process_name

if TYPE_CHECKING:
    from vllm.engine.core import EngineCore

__all__ = ["NAME", "Setup", "main"]

NAME = "EngineCore"
LINGER_ms = 2000
"""How long a dead core tries to say why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """What the process is told first; the configuration stays pickled until errors can be reported."""

    address: str
    front_pid: int
    front_on_main_thread: bool
    main_path: str | None
    config: bytes


def main(connection: Connection) -> None:
    """Run until told to stop, or until the front is gone. Exit code 1 if the engine died."""
    ignore_interrupts()
    faulthandler.enable()
    set_process_name(NAME)
    name_process(f"Vllm{NAME}")
    setup: Setup = connection.recv()
    die_with_engine(connection.fileno(), engine_pid=setup.front_pid, by_signal=setup.front_on_main_thread)
    with zmq.Context() as context, context.socket(zmq.PAIR) as socket:
        socket.setsockopt(zmq.LINGER, LINGER_ms)
        socket.set_hwm(0)  # the scheduler's limits bound what can be under way
        socket.connect(setup.address)
        if not _serve(setup, socket):
            raise SystemExit(1)


def _serve(setup: Setup, socket: zmq.Socket[bytes]) -> bool:
    def send(message: FromCore) -> None:
        # Copied: for one of 64 KiB that is not, pyzmq starts a context and a thread of its own, which stay.
        socket.send(encode(message))

    try:
        core = _build(setup)
    except Exception as error:  # noqa: BLE001 - raised again in the front
        send(Died(pickle.dumps(pack_error(error))))
        return False
    try:
        return CoreLoop(core, _Socket(socket), send).run()
    finally:
        core.shutdown()


def _build(setup: Setup) -> EngineCore:
    from vllm.engine.core import EngineCore
    from vllm.engine.model_text import late_grammar_factory
    from vllm.plugins import load_general_plugins

    use_main(setup.main_path)
    load_general_plugins()
    config = pickle.loads(setup.config)
    return EngineCore(config, late_grammar_factory(config))


class _Socket:
    """The inbox at this end: what the front says, and what this process's own threads put in."""

    def __init__(self, socket: zmq.Socket[bytes]) -> None:
        self._socket = socket
        self._from_inside: queue.SimpleQueue[Compiled] = queue.SimpleQueue()
        self._woken, self._waking = os.pipe()
        self._poller = zmq.Poller()
        self._poller.register(socket, zmq.POLLIN)
        self._poller.register(self._woken, zmq.POLLIN)

    def put(self, message: Compiled) -> None:
        self._from_inside.put(message)
        os.write(self._waking, b"!")

    def take(self, *, block: bool) -> list[ToCore | Compiled]:
        if block:
            self._poller.poll()
        taken: list[ToCore | Compiled] = []
        while not self._from_inside.empty():
            taken.append(self._from_inside.get())
            os.read(self._woken, 1)
        while int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            taken.append(decode_to_core(self._socket.recv(zmq.NOBLOCK)))
        return taken
