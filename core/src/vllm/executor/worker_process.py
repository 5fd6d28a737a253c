"""The program of one worker process: make the worker, then carry out commands in the order in which they come."""

from __future__ import annotations

import faulthandler
import os
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from vllm.errors import OutOfMemoryError, StepFailedError, WorkerError
from vllm.executor.main_module import use_main
from vllm.executor.os_process import die_with_engine, ignore_interrupts, name_process
from vllm.executor.remote_error import pack_error
from vllm.executor.rpc import worker_function
from vllm.executor.shared_board import BoardReader, Place
from vllm.executor.wire import Answer, Buffer, Command, GrammarMask, Refusal, Rpc, RunStep, Stop, decode, encode
from vllm.executor.worker_factory import create_worker
from vllm.logger import init_logger, set_process_name

if TYPE_CHECKING:
    from vllm.messages import Int32Array
    from vllm.worker.worker_base import WorkerBase

__all__ = ["BORN", "Setup", "main"]

logger = init_logger(__name__)

BORN = -1
"""Number of the first answer, which says that the worker exists."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Setup:
    """What a worker process is told first; the configuration stays pickled until errors can be reported."""

    name: str
    rank: int
    ranks: int
    board_fd: int
    engine_pid: int
    engine_on_main_thread: bool
    main_path: str | None
    init_method: str
    config: bytes


def main(connection: Connection) -> None:
    """Run until told to stop; the engine's death ends the process from another thread."""
    ignore_interrupts()
    faulthandler.enable()
    setup: Setup = decode(connection.recv_bytes())
    set_process_name(setup.name)
    name_process(setup.name)
    die_with_engine(connection.fileno(), engine_pid=setup.engine_pid, by_signal=setup.engine_on_main_thread)
    worker = _born(setup, connection)
    if worker is None:
        return
    try:
        _Loop(worker, connection, BoardReader(setup.board_fd, rank=setup.rank, ranks=setup.ranks)).run()
    except (EOFError, ConnectionError):  # of the socket: the engine is gone, and nobody is left to hear about it
        os._exit(1)
    finally:
        worker.shutdown()


def _born(setup: Setup, connection: Connection) -> WorkerBase | None:
    """The worker, or None after its error was reported."""
    try:
        use_main(setup.main_path)
        config = decode(setup.config)
        worker = create_worker(config, rank=setup.rank, local_rank=setup.rank, init_method=setup.init_method)
    except Exception as error:  # noqa: BLE001 - raised again in the engine
        _send(connection, Refusal(BORN, pack_error(error), fatal=True))
        connection.poll(None)  # the engine ends this process; if it went by itself, it would count as dead
        return None
    _send(connection, Answer(BORN, None))
    return worker


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """A command that came and cannot be rebuilt in this process."""

    error: Exception


class _Loop:
    """One worker and its two ways: commands in over the board, answers out over the socket."""

    def __init__(self, worker: WorkerBase, connection: Connection, board: BoardReader) -> None:
        self._worker, self._connection, self._board = worker, connection, board
        self._ranks = worker.config.parallel_config.world_size
        self._number = -1
        self._broken = False

    def run(self) -> None:
        """Until Stop."""
        while not isinstance(command := self._next(), Stop):
            self._carry_out(command)
            self._board.mark_finished(self._number)

    def _next(self) -> Command | _Unreadable:
        """Block for the next command."""
        place = Place.unpack(self._connection.recv_bytes())
        self._number = place.number
        try:
            command: Command = decode(self._board.read(place))
        except Exception as error:  # noqa: BLE001 - of a class or function that is not found here; raised again in the engine
            return _Unreadable(error)
        return command

    def _carry_out(self, command: RunStep | GrammarMask | Rpc | _Unreadable) -> None:
        match command:
            case _Unreadable():  # perhaps a step: what it would have done to the worker's state is unknown
                self._refuse(self._number, command.error)
            case RunStep():
                self._step(self._number, command)
            case Rpc():
                self._rpc(command)
            case GrammarMask():
                pass  # of a step that failed before it was sampled

    def _step(self, number: int, command: RunStep) -> None:
        """After an error no further step runs: the engine is about to end this process, but for an error that costs the step alone."""
        if self._broken:
            return
        try:
            self._worker.execute(command.plan)
            output = self._worker.sample(self._mask_of(command))
        except (OutOfMemoryError, StepFailedError) as error:
            self._refuse(number, error, fatal=self._ranks > 1)
        except Exception as error:  # noqa: BLE001 - raised again in the engine
            self._refuse(number, error)
        else:
            if self._worker.rank == 0:
                _send(self._connection, Answer(number, output))

    def _refuse(self, number: int, error: Exception, *, fatal: bool = True) -> None:
        self._broken = fatal
        _send(self._connection, Refusal(number, pack_error(error), fatal=fatal))

    def _mask_of(self, command: RunStep) -> Int32Array | None:
        """The masks of the step, which the engine computes while the forward runs."""
        if len(command.plan.grammar_rows_G) == 0:
            return None
        while not isinstance(following := self._next(), GrammarMask):
            if isinstance(following, Stop):
                raise SystemExit(0)
            self._carry_out(following)
        return following.mask_GW

    def _rpc(self, command: Rpc) -> None:
        number = self._number
        try:
            value = worker_function(self._worker, command.method)(*command.args, **command.kwargs)
            answer = _encoded_answer(number, value)
        except Exception as error:  # noqa: BLE001 - raised again in the engine
            answer = encode(Refusal(number, pack_error(error), fatal=False))
        self._connection.send_bytes(b"".join(answer))


def _encoded_answer(number: int, value: Any) -> list[Buffer]:
    try:
        return encode(Answer(number, value))
    except Exception as error:
        raise WorkerError(
            f"The result of the call, a {type(value).__qualname__}, cannot be sent to the engine's process: {error}",
            remedy="return plain data: numbers, strings, lists, arrays, tensors",
        ) from error


def _send(connection: Connection, message: Answer | Refusal) -> None:
    connection.send_bytes(b"".join(encode(message)))
