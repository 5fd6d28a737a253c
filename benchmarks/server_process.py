"""Owns a server's process: what it says goes into a file, it is looked at from outside, and it ends with all below it.

However the benchmark ends: SIGTERM, like Ctrl-C, unwinds it. For the main thread.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType

import psutil

__all__ = ["ServerProcess", "status_bytes"]

LOOK_s = 0.02


class ServerProcess:
    """A command that serves, in a session of its own. Whoever starts it calls `end`."""

    def __init__(self, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None) -> None:
        """`environment` is added to ours."""
        signal.signal(signal.SIGTERM, _unwind)
        self._command, self._log = command, log
        with log.open("w", encoding="utf-8") as out:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, **(environment or {})},
            )
        self.pid = self._process.pid

    @property
    def said(self) -> str:
        """What it has written."""
        return self._log.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, is_ready: Callable[[], bool], patience_s: float) -> None:
        """Ends the program, with the log, if it does not come up."""
        deadline_s = time.monotonic() + patience_s
        while not is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit(f"The server did not come up: {' '.join(self._command)}\n{self.said}")
            time.sleep(LOOK_s)

    def tree(self) -> list[psutil.Process]:
        """The process and all below it."""
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]

    def stop(self, patience_s: float) -> int:
        """SIGTERM; gives the exit status. Raises TimeoutExpired."""
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(patience_s)

    def end(self) -> None:
        """Leave nothing of it. May be called twice."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()


def _unwind(_number: int, _frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not stop what ends the servers
    sys.exit(1)


def status_bytes(pid: int, field: str) -> int:
    """A line of /proc/PID/status; 0 for a process that has just ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024
    return 0
