"""Owns the engine core in a process of its own: started as a fresh interpreter, spoken to over ZeroMQ, its death noticed at once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import shutil
import tempfile
import threading
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING

import zmq

from vllm import envs
from vllm.engine.core_client.interface import CoreClient, Receiver
from vllm.engine.core_client.messages import Add, Died, Started, Stop, ToCore
from vllm.engine.core_client.process_main import NAME, Setup
from vllm.engine.core_client.wire import decode_from_core, encode, encode_request
from vllm.engine.on_loop import on_loop
from vllm.errors import ConfigError, EngineDeadError
from vllm.executor.child_process import ChildProcess
from vllm.executor.main_module import main_path
from vllm.executor.os_process import child_environment
from vllm.executor.remote_error import pack_error, unpack_error
from vllm.logger import init_logger

if TYPE_CHECKING:
    from vllm.config import VllmConfig

__all__ = ["ProcessClient"]

logger = init_logger(__name__)

STOP_s = 10.0
"""For a core that was told to stop: its workers get three seconds of it to leave their groups."""
LOOK_AROUND_ms = 100
AT_ONCE_messages = 16
"""Then the loop's other callbacks have their turn: streams are written, requests taken."""


class ProcessClient(CoreClient):
    """The process ends with this object, with `close`, or with the program, whichever comes first."""

    def __init__(self, config: VllmConfig) -> None:
        """Start the process; does not wait for it."""
        pickled_config = _pickled(config)
        self._folder = _private_folder()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PAIR)
        try:
            address = _bind(self._socket, self._folder)
            self._child = ChildProcess(NAME, "vllm.engine.core_client.process_main", environment=child_environment())
        except BaseException:
            self._context.destroy(0)
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._ears: _Ears | None = None
        self._is_ready = threading.Event()
        self._finalizer = weakref.finalize(
            self, _end, self._child, self._socket, self._context, self._folder, self._is_ready
        )
        self._introduce(pickled_config, address)

    @property
    def description(self) -> str:
        return str(self._child)

    @property
    def pid(self) -> int:
        """The process."""
        return self._child.process.pid

    def wait_until_ready(self) -> VllmConfig:
        deadline_s = time.monotonic() + envs.VLLM_ENGINE_READY_TIMEOUT_S
        while not self._socket.poll(LOOK_AROUND_ms):
            if self._child.has_ended and not self._socket.poll(LOOK_AROUND_ms):  # its last word may just have come
                raise self._child.death("at its start")
            if time.monotonic() > deadline_s:
                self.close()
                raise EngineDeadError(
                    f"{self} was not ready after {envs.VLLM_ENGINE_READY_TIMEOUT_S:.0f} s.",
                    remedy="VLLM_ENGINE_READY_TIMEOUT_S gives it more time",
                )
        shutil.rmtree(self._folder, ignore_errors=True)  # both ends are connected: nothing is left to clean up
        message = decode_from_core(self._socket.recv())
        if isinstance(message, Died):
            raise unpack_error(pickle.loads(message.error), self.description)
        assert isinstance(message, Started), "a core's first word is that it has started, or why not"
        config: VllmConfig = pickle.loads(message.config)
        self._is_ready.set()
        return config

    def give_up(self) -> None:
        self._child.process.kill()

    def listen(self, receiver: Receiver) -> None:
        self._ears = _Ears(self._socket, self._child, receiver)

    def send(self, message: ToCore) -> None:
        data = encode_request(message) if isinstance(message, Add) else encode(message)
        if self._socket.closed:
            return
        with contextlib.suppress(zmq.Again):  # no peer any more: it is dead, and the ears say so
            self._socket.send(data, zmq.NOBLOCK)
        if self._ears is not None:
            self._ears.look_again()

    def close(self) -> None:
        if self._ears is not None:
            self._ears.close()
        self._finalizer()

    def __str__(self) -> str:
        return self.description

    def _introduce(self, pickled_config: bytes, address: str) -> None:
        setup = Setup(
            address=address,
            front_pid=os.getpid(),
            front_on_main_thread=threading.current_thread() is threading.main_thread(),
            main_path=main_path(),
            config=pickled_config,
        )
        with self._child.named_if_dead("at its start"):
            self._child.connection.send(setup)


class _Ears:
    """The receiving end on an event loop: every message in order, and in the end, whatever happens to the process, `Died`."""

    def __init__(self, socket: zmq.Socket[bytes], child: ChildProcess, receiver: Receiver) -> None:
        self._socket, self._child, self._receiver = socket, child, receiver
        self._loop = asyncio.get_running_loop()
        self._told_death = False
        self._readers: tuple[int, ...] = (int(socket.getsockopt(zmq.FD)), child.connection.fileno())
        messages, hang_up = self._readers
        self._loop.add_reader(messages, self._take)
        self._loop.add_reader(hang_up, self._hung_up)  # nothing is ever sent on it: readable means closed
        self.look_again()

    def look_again(self) -> None:
        """ZeroMQ's descriptor speaks once per change, and any use of the socket may have swallowed it."""
        if not self._loop.is_closed() and self._has_message():
            self._loop.call_soon(self._take)

    def close(self) -> None:
        """Hear nothing more. From any thread, and after the loop's end.

        Done when this returns: the socket, which bears one thread at a time, is closed next, and a next one gets its descriptor's number.
        """
        self._told_death = True
        if not self._loop.is_closed():
            on_loop(self._loop, self._stop_listening)

    def _take(self) -> None:
        """What came while the loop was busy, in one go; but a core that is faster than this side must not have the loop for itself."""
        for _ in range(AT_ONCE_messages):
            if not self._take_one():
                return
        self.look_again()

    def _take_one(self) -> bool:
        """Whether there was one to take."""
        if self._told_death or not self._has_message():
            return False
        message = decode_from_core(self._socket.recv(zmq.NOBLOCK))
        self._told_death = isinstance(message, Died)
        self._receiver(message)
        return True

    def _has_message(self) -> bool:
        return not self._socket.closed and bool(int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN)

    def _hung_up(self) -> None:
        self._stop_listening()
        self._task = self._loop.create_task(self._tell_death())

    async def _tell_death(self) -> None:
        """What the process still said counts first: it may say why."""
        death = await self._loop.run_in_executor(None, self._child.death, "while it was needed")
        while self._take_one():
            pass
        if not self._told_death:
            self._told_death = True
            self._receiver(Died(pickle.dumps(pack_error(death))))

    def _stop_listening(self) -> None:
        for descriptor in self._readers:
            self._loop.remove_reader(descriptor)
        self._readers = ()


def _private_folder() -> Path:
    """A folder for the socket that no other user can enter."""
    base = envs.VLLM_RPC_BASE_PATH or Path(tempfile.gettempdir())
    try:
        return Path(tempfile.mkdtemp(prefix="vllm-", dir=base))
    except OSError as error:
        raise _no_socket_in(base, str(error)) from error


def _bind(socket: zmq.Socket[bytes], folder: Path) -> str:
    """Open our end in the folder; gives the address."""
    socket.setsockopt(zmq.LINGER, 0)
    socket.set_hwm(0)
    address = f"ipc://{folder}/core"
    try:
        socket.bind(address)
    except zmq.ZMQError as error:
        raise _no_socket_in(folder.parent, str(error)) from error
    return address


def _no_socket_in(base: Path, why: str) -> ConfigError:
    return ConfigError(
        f"The socket to the engine core cannot lie in {base}: {why}.",
        cause="the folder is missing or cannot be written to, or its path is longer than the system permits a socket (about 100 bytes)",
        remedy="set VLLM_RPC_BASE_PATH to a folder with a short path, such as /tmp",
    )


def _pickled(config: VllmConfig) -> bytes:
    try:
        return pickle.dumps(config)
    except Exception as error:
        raise ConfigError(
            f"The configuration cannot be sent to the engine core's process: {type(error).__name__}: {error}",
            cause="it holds a function or class that was made inside a function, such as a lambda in logits_processors",
            remedy="define it in a module, or run the core in this process (VLLM_ENABLE_V1_MULTIPROCESSING=0)",
        ) from error


def _end(
    child: ChildProcess,
    socket: zmq.Socket[bytes],
    context: zmq.Context[zmq.Socket[bytes]],
    folder: Path,
    is_ready: threading.Event,
) -> None:
    """Tell the core to stop, then make sure of it. One that is still starting reads no message."""
    if is_ready.is_set():
        with contextlib.suppress(zmq.ZMQError):
            socket.send(encode(Stop()), zmq.NOBLOCK)
        if not child.wait(STOP_s):
            logger.warning("%s did not stop within %.0f s and is killed.", child, STOP_s)
    if not child.has_ended:
        child.process.kill()
        child.process.wait()
    child.connection.close()
    socket.close(0)
    context.term()
    shutil.rmtree(folder, ignore_errors=True)
