"""Owns the answers of the workers: which are still missing, which have come, which worker died instead."""

from __future__ import annotations

import selectors
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from vllm.executor.remote_error import unpack_error
from vllm.executor.wire import Answer, Refusal, decode
from vllm.executor.worker_handle import WorkerHandle
from vllm.logger import init_logger

__all__ = ["Expected", "Mailbox"]

logger = init_logger(__name__)

PEER_DEATH_s = 0.2
"""A rank that dies makes its peers' collectives fail, and their errors may come before its death is seen; the death is the cause."""
LOOK_AROUND_s = 1.0
"""A death closes the socket, which wakes us at once; a worker's own child may keep the socket open, so we also look this often."""


@dataclass(slots=True)
class Expected:
    """The answers to one command."""

    number: int
    doing: str
    """"in step 17": completes "Worker 1 died …"."""
    missing: set[int]
    """Ranks that have not answered."""
    values: dict[int, Any] = field(default_factory=dict)
    errors: dict[int, BaseException] = field(default_factory=dict)
    """In order of arrival: the first is the likely cause of the others."""


class Mailbox:
    """Reads the sockets of all workers. What ends the engine (a death, a failed step) goes to `fatal`, which raises it."""

    def __init__(self, workers: Iterable[WorkerHandle], fatal: Callable[[BaseException], NoReturn]) -> None:
        self._workers = list(workers)
        self._fatal = fatal
        self._expected: dict[int, Expected] = {}
        self._selector = selectors.DefaultSelector()
        for worker in self._workers:
            self._selector.register(worker.connection, selectors.EVENT_READ, worker)

    def expect(self, number: int, doing: str, ranks: Iterable[int]) -> Expected:
        """Keep the answers to message `number` until `forget`; answers that nobody expects are dropped."""
        self._expected[number] = Expected(number, doing, set(ranks))
        return self._expected[number]

    def forget(self, expected: Expected) -> None:
        self._expected.pop(expected.number, None)

    def wait_until(self, done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        """Read until `done()`; False when the time is over first."""
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while not done():
            left_s = LOOK_AROUND_s if deadline_s is None else min(LOOK_AROUND_s, deadline_s - time.monotonic())
            if left_s <= 0:
                return False
            self.read(left_s)
        return True

    def read(self, timeout_s: float) -> None:
        """Take in what has come, waiting for the first thing at most `timeout_s`."""
        ready = self._selector.select(timeout_s)
        for key, _events in ready:
            self._read_one(key.data)
        if not ready:
            self.look_for_deaths()

    def look_for_deaths(self, within_s: float = 0.0) -> None:
        """Report a worker whose process has ended, or does so within the time."""
        for worker in self._workers:
            if worker.wait(within_s / len(self._workers)):
                self._fatal(worker.death(self._doing()))

    @property
    def is_idle(self) -> bool:
        """Nothing is expected."""
        return not self._expected

    def close(self) -> None:
        self._selector.close()

    def _read_one(self, worker: WorkerHandle) -> None:
        try:
            message = worker.connection.recv_bytes()
        except (EOFError, OSError):
            self._fatal(worker.death(self._doing()))
        except BaseException as error:  # noqa: BLE001 - such as Ctrl-C amid a message: nothing after it can be read; raised by _fatal
            self._fatal(error)
        self._deliver(worker, decode(message))

    def _deliver(self, worker: WorkerHandle, message: Answer | Refusal) -> None:
        expected = self._expected.get(message.number)
        if isinstance(message, Answer):
            if expected is not None:
                expected.values[worker.rank] = message.value
                expected.missing.discard(worker.rank)
            return
        error = unpack_error(message.error, str(worker))
        if message.fatal:
            self.look_for_deaths(PEER_DEATH_s)
            self._fatal(error)
        if expected is None:
            logger.error("%s: a call that was given up failed: %s", worker, error)
        else:
            expected.errors[worker.rank] = error
            expected.missing.discard(worker.rank)

    def _doing(self) -> str:
        """What the workers were asked last that is not answered."""
        return next((expected.doing for expected in self._expected.values()), "while it had nothing to do")
