"""Owns work that may take too long or too much memory: it is done in a process beside, which is ended when it does.

What such work is handed and gives back travels pickled; its functions are those of modules. Processes start with the first work, and
after one was ended, with the next.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, ParamSpec, TypeVar

from vllm.errors import BeyondLimitsError, VllmError
from vllm.executor.child_process import ChildProcess
from vllm.executor.helper_main import Answer, Limits, Work
from vllm.executor.remote_error import unpack_refusal
from vllm.logger import init_logger

__all__ = ["HelperPool"]

logger = init_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
START_s = 120.0
"""For a fresh interpreter and its preparation, on a machine that does other things."""
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class _Preparation:
    """What a process does before its first work, without that work's limit of time."""

    function: Callable[..., object]
    args: tuple[Any, ...]


class HelperPool:
    """At most `max_processes`, each with one work at a time; what comes then waits. For tasks of one event loop or several."""

    def __init__(
        self, name: str, prepare: Callable[..., object], *args: Any, max_processes: int = 2, memory_bytes: int = 4 * GIB
    ) -> None:
        """`prepare(*args)` is called first in every process. `memory_bytes` bounds a process's addresses."""
        self._name, self._memory_bytes = name, memory_bytes
        self._preparation = _Preparation(prepare, args)
        self._threads = ThreadPoolExecutor(max_processes, thread_name_prefix=name)
        self._own = threading.local()
        self._lock = threading.Lock()
        self._processes: set[ChildProcess] = set()
        self._is_closed = False

    async def run(self, timeout_s: float, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """What the function gives there. Raises what it raises, and BeyondLimitsError; waiting for its turn does not count."""
        self._check_open()
        waiting = [Work(partial(function, *args, **kwargs), timeout_s)]
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._run, waiting)
        finally:
            waiting.clear()  # the threads' queue keeps its place when the task is cancelled: it must not keep the work
        if answer.error is not None:
            raise unpack_refusal(answer.error, self._name)
        result: T = answer.result
        return result

    def close(self) -> None:
        """End the processes; work under way raises BeyondLimitsError. May be called twice."""
        with self._lock:
            self._is_closed = True
            for process in self._processes:
                process.process.kill()
        self._threads.shutdown()  # what waits there is told that it is not done any more
        for process in self._processes:
            process.process.wait()
            process.connection.close()
        self._processes.clear()

    # -- in a thread, each of which has a process of its own --------------------------------------------------------------------

    def _run(self, waiting: list[Work]) -> Answer:
        work = waiting.pop()  # none is left where the task was cancelled this moment: nobody hears of that
        pickled = pickle.dumps(work)  # before the process: what cannot be sent is no fault of its
        try:
            process = self._process()
            process.connection.send_bytes(pickled)
            return self._answer(process, work.timeout_s, f"takes longer than {work.timeout_s:g} s")
        except (OSError, EOFError) as error:
            raise self._death() from error

    def _process(self) -> ChildProcess:
        """This thread's, which has answered once."""
        process: ChildProcess | None = getattr(self._own, "process", None)
        if process is None:
            process = self._own.process = self._spawn()
            process.connection.send(Limits(engine_pid=os.getpid(), memory_bytes=self._memory_bytes))
            process.connection.send(Work(partial(self._preparation.function, *self._preparation.args), START_s))
            answer = self._answer(process, START_s, "was not ready in time")
            if answer.error is not None:
                self._drop(process)
                raise unpack_refusal(answer.error, self._name)
        return process

    def _spawn(self) -> ChildProcess:
        with self._lock:
            self._check_open()
            try:
                process = ChildProcess(self._name, "vllm.executor.helper_main")
            except OSError as error:
                raise VllmError(f"The process {self._name} could not be started: {error}") from error
            self._processes.add(process)
        return process

    def _check_open(self) -> None:
        if self._is_closed:
            raise BeyondLimitsError("was not done: the engine is shutting down")

    def _answer(self, process: ChildProcess, timeout_s: float, complaint: str) -> Answer:
        if not process.connection.poll(timeout_s):
            self._drop(process)
            raise BeyondLimitsError(complaint)
        answer: Answer = process.connection.recv()
        return answer

    def _death(self) -> VllmError:
        """Why this thread's process came to its end: the work's doing, unless we are closing, which is raised."""
        process: ChildProcess = self._own.process
        death = process.death("while it worked")
        self._drop(process)
        self._check_open()
        logger.warning("Work for a request was given up: %s", death.what)
        return BeyondLimitsError(f"takes more than {self._memory_bytes / GIB:g} GiB of memory, or crashes")

    def _drop(self, process: ChildProcess) -> None:
        self._own.process = None
        with self._lock:
            self._processes.discard(process)
        process.process.kill()
        process.process.wait()
        with contextlib.suppress(OSError):
            process.connection.close()
