"""Owns the engine's view of one worker process: starting it, naming it, saying how it ended."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing.connection import Connection

from vllm.errors import WorkerDiedError
from vllm.executor.os_process import interrupts_held_back

__all__ = ["WorkerHandle"]

LINGER_s = 1.0
_BOOT = """\
import sys
sys.path[:] = filter(None, sys.path)  # or a file in the current folder would stand in for one of the standard library
from multiprocessing.connection import Connection
engine = Connection(int(sys.argv[2]))
sys.path[:] = engine.recv()
from vllm.executor.worker_process import main
main(engine)
"""


class WorkerHandle:
    """A fresh interpreter that runs `worker_process.main`; no other process holds its socket's other end."""

    def __init__(self, rank: int, *, inherit: tuple[int, ...], environment: Mapping[str, str]) -> None:
        """Start the process, which has the descriptors `inherit` under the same numbers; does not wait for it."""
        self.rank = rank
        self.name = f"VllmWorker-{rank}"
        ours, theirs = socket.socketpair()
        with theirs, interrupts_held_back():
            self.process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, self.name, str(theirs.fileno())],
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
        return f"Worker {self.rank} (pid {self.process.pid})"

    def death(self, doing: str) -> WorkerDiedError:
        """The error that says how the process ended. One that closed its socket and lingers is ended."""
        if not self.wait(LINGER_s):
            self.process.kill()
        code = self.process.wait()
        if code < 0:
            return WorkerDiedError(
                f"{self} died with {_signal(-code)} {doing}.", cause=_CAUSES.get(-code, _NATIVE_CRASH)
            )
        return WorkerDiedError(
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
