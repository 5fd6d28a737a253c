"""The program of a helper's process: one piece of work after the other, within limits that the kernel enforces too."""

from __future__ import annotations

import math
import resource
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from vllm.errors import BeyondLimitsError
from vllm.executor.os_process import die_with_engine, ignore_interrupts, name_process
from vllm.executor.remote_error import PackedError, pack_error

__all__ = ["Answer", "Limits", "Work", "main"]

NAME = "VllmHelper"


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What a helper is told first."""

    engine_pid: int
    memory_bytes: int


@dataclass(frozen=True, slots=True)
class Work:
    """One call, and the seconds that it may take."""

    call: Callable[[], Any]
    timeout_s: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the call gave, or raised."""

    result: Any
    error: PackedError | None


def main(connection: Connection) -> None:
    """Work until the other end closes."""
    ignore_interrupts()
    name_process(NAME)
    limits: Limits = connection.recv()
    die_with_engine(connection.fileno(), engine_pid=limits.engine_pid, by_signal=False)
    resource.setrlimit(resource.RLIMIT_AS, (limits.memory_bytes, limits.memory_bytes))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    while True:
        try:
            work: Work = connection.recv()
        except EOFError:
            return
        _bound_processor_time(work.timeout_s)
        connection.send(_answer(work))


def _bound_processor_time(more_s: float) -> None:
    """The kernel ends us even where nobody is left to do it, and no thread of Python gets its turn."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    until_s = math.ceil(usage.ru_utime + usage.ru_stime + 2 * more_s) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (until_s, resource.RLIM_INFINITY))


def _answer(work: Work) -> Answer:
    try:
        return Answer(work.call(), None)
    except MemoryError:
        return Answer(None, pack_error(BeyondLimitsError("takes more memory than it may have")))
    except Exception as error:  # noqa: BLE001 - raised again where the work was asked for
        return Answer(None, pack_error(error))
