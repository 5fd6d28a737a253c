"""Owns what a process of ours asks of its operating system: a name in `ps`, to die with its engine, whose signals are whose, short
waits, memory that threads share."""

from __future__ import annotations

import ctypes
import os
import platform
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = [
    "child_environment",
    "die_with_engine",
    "ignore_interrupts",
    "interrupts_held_back",
    "name_process",
    "return_freed_memory",
    "usable_cores",
]

LOOK_AROUND_s = 1
_SPINS = 1000
"""What libgomp itself takes where it knows of more threads than cores. It cannot know of other processes, and takes 300 times as many."""
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15  # linux/prctl.h
_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8  # malloc.h of glibc
_ARENAS = 2
_LARGE_bytes = 1 << 17
"""What glibc begins with; naming it keeps it from rising."""


@contextmanager
def interrupts_held_back() -> Iterator[None]:
    """In the engine: a process started inside cannot be hit by Ctrl-C before it has called `ignore_interrupts`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_interrupts() -> None:
    """In a worker: terminals send Ctrl-C, and job managers SIGTERM, to every process of a group; only the engine answers them."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def name_process(name: str) -> None:
    """What `ps -o comm` and `top` show (15 characters)."""
    ctypes.CDLL(None).prctl(_PR_SET_NAME, name.encode()[:15])


def return_freed_memory() -> None:
    """Before threads start, in a process that handles many small things and now and then a large one: freed memory goes back.

    glibc gives each thread an arena of its own, and once a large piece was freed, takes the next ones from there too, between small
    ones that stay: a server of 15 threads kept 46 MB of freed memory after 5,000 requests, and 3 MB more with every 1,000. Not for
    processes that compute: a tensor would be fresh memory each time. The caller's own settings stand (`MALLOC_*`, `GLIBC_TUNABLES`).
    Does nothing where the C library is another.
    """
    decided = "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ)
    if not decided and platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_bytes)


def die_with_engine(socket_fd: int, *, engine_pid: int, by_signal: bool) -> None:
    """End this process when the engine's end of the socket is closed, even while the main thread is inside native code.

    A forked copy of the engine keeps that end open; so once a second we also look whether the engine is still our parent.

    Args:
        socket_fd: this process's end of a socket pair whose other end only the engine holds.
        engine_pid: the engine's process.
        by_signal: let the kernel kill this process too. It does so when the *thread* that started it ends, so only for the main one.
    """
    threading.Thread(target=_exit_at_hangup, args=(socket_fd, engine_pid), name="engine-watch", daemon=True).start()
    if by_signal:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != engine_pid:  # it died before the kernel was told
            os._exit(1)


def _exit_at_hangup(socket_fd: int, engine_pid: int) -> None:
    watch = select.poll()
    watch.register(socket_fd, 0)  # a hang-up is reported whatever is asked for; data is the main thread's
    while not watch.poll(LOOK_AROUND_s * 1000) and os.getppid() == engine_pid:
        pass
    os._exit(1)


def child_environment() -> dict[str, str]:
    """Ours; and torch's threads that wait for each other soon give up their core, unless the user has decided.

    A server's own process, and whoever else runs here, needs it: a thread that was interrupted keeps the others waiting for milliseconds.
    """
    environment = dict(os.environ)
    if not environment.keys() & {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}:
        environment["GOMP_SPINCOUNT"] = str(_SPINS)
    return environment


def usable_cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0))
