"""Owns a process of ours that is a fresh interpreter: starting it, naming it, saying how it ended. Workers and the engine core are such."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection

from vllm.errors import EngineDeadError
from vllm.executor.os_process import interrupts_held_back

__all__ = ["ChildProcess"]

LINGER_s = 1.0
_BOOT = """\
import sys
sys.path[:] = filter(None, sys.path)  # or a file in the current folder would stand in for one of the standard library
from importlib import import_module
from multiprocessing.connection import Connection
parent = Connection(int(sys.argv[2]))
sys.path[:] = parent.recv()
import_module(sys.argv[3]).main(parent)
"""


class ChildProcess:
    """A fresh interpreter that runs `main(connection)` of a module; no other process holds its socket's other end."""

    died_error: type[EngineDeadError] = EngineDeadError

    def __init__(
        self, name: str, module: str, *, inherit: tuple[int, ...] = (), environment: Mapping[str, str] | None = None
    ) -> None:
        """Start the process, which has the descriptors `inherit` under the same numbers; does not wait for it."""
        self.name = name
        ours, theirs = socket.socketpair()
        with theirs, interrupts_held_back():
            self.process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, self.name, str(theirs.fileno()), module],
                pass_fds=(theirs.fileno(), *inherit),
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        self.connection = Connection(ours.detach())
        with self.named_if_dead("at its start"):
            self.connection.send(sys.path)

    @contextmanager
    def named_if_dead(self, doing: str) -> Iterator[None]:
        """A process that died before it read what is sent to it is an error with its name, not a broken pipe."""
        try:
            yield
        except OSError as error:
            raise self.death(doing) from error

    def __str__(self) -> str:
        return f"{self.name} (pid {self.process.pid})"

    def death(self, doing: str) -> EngineDeadError:
        """The error that says how the process ended. One that closed its socket and lingers is ended."""
        if not self.wait(LINGER_s):
            self.process.kill()
        code = self.process.wait()
        if code < 0:
            cause = _CAUSES.get(-code, _NATIVE_CRASH)
            return self.died_error(f"{self} died with {_signal(-code)} {doing}.", cause=cause)
        return self.died_error(
            f"{self} ended by itself with exit code {code} {doing}.",
            cause="something in it called exit; what it wrote before stands above, with its name in front",
        )

    def wait(self, timeout_s: float) -> bool:
        """Whether the process has ended, after at most `timeout_s`."""
        try:
            self.process.wait(max(timeout_s, 0.0))
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None


def _signal(number: int) -> str:
    """ "signal 9 (SIGKILL)"."""
    try:
        return f"signal {number} ({signal.Signals(number).name})"
    except ValueError:
        return f"signal {number}"


_NATIVE_CRASH = "native code crashed; its stack stands above"
_CAUSES: dict[int, str] = {
    signal.SIGKILL: "the kernel ran out of memory and chose it (see dmesg), or somebody sent kill -9",
    signal.SIGTERM: "somebody or a job manager ended it",
}
