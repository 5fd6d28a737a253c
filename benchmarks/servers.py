"""Owns a server that is measured beside others: started from a command line, watched from outside, stopped."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import psutil
from server_process import ServerProcess, status_bytes

__all__ = ["CpuTime", "Server"]

PATIENCE_s = 600.0
STOP_s = 30.0


@dataclass(frozen=True, slots=True)
class CpuTime:
    """Seconds of CPU so far."""

    front_s: float
    """Of the process that was started: the one that speaks HTTP."""
    rest_s: float
    """Of its descendants: the engine."""

    def __sub__(self, earlier: CpuTime) -> CpuTime:
        return CpuTime(self.front_s - earlier.front_s, self.rest_s - earlier.rest_s)


class Server:
    """A command that serves HTTP at `{port}`; between `with` and its end it answers. What it prints goes into a file."""

    def __init__(self, name: str, command: str, model: Path, log: Path) -> None:
        """`command` may name `{model}` and `{port}`."""
        self.name, self.log = name, log
        self._port = _free_port()
        self.command = command.format(model=model, port=self._port)
        self.url = f"http://127.0.0.1:{self._port}"
        self.ready_s = 0.0
        """From the start of the process to the first answer of /health."""

    def __enter__(self) -> Server:
        start_s = time.perf_counter()
        self._process = ServerProcess(shlex.split(self.command), self.log)
        try:
            self._process.wait_until(self._answers, PATIENCE_s)
        except BaseException:
            self._process.end()
            raise
        self.ready_s = time.perf_counter() - start_s
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.stop(STOP_s)
        finally:
            self._process.end()

    def cpu_time(self) -> CpuTime:
        """So far, of the processes that live."""
        front, *rest = [_cpu_s(each) for each in self._process.tree()]
        return CpuTime(front, sum(rest))

    def resident_bytes(self) -> int:
        """Now, summed over the processes; pages that they share (torch's libraries) count once for each."""
        return sum(status_bytes(each.pid, "VmRSS") for each in self._process.tree())

    def peak_bytes(self) -> int:
        """The sum of each living process's own highest: at least what the tree held at once."""
        return sum(status_bytes(each.pid, "VmHWM") for each in self._process.tree())

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _cpu_s(process: psutil.Process) -> float:
    with contextlib.suppress(psutil.NoSuchProcess):
        times = process.cpu_times()
        return float(times.user + times.system)
    return 0.0
