"""Owns doing something on an event loop's own thread, from whichever thread it is asked for: nothing of asyncio bears two."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

__all__ = ["on_loop"]

BUSY_LOOP_s = 5.0
"""A loop that is late by more may be waiting for the thread that asks."""


def on_loop(loop: asyncio.AbstractEventLoop | None, act: Callable[[], None]) -> None:
    """Have the loop's thread do it, and wait; here and now where that is this thread, or where the loop does not run."""
    if loop is None or not loop.is_running() or _running_loop() is loop:
        act()
        return
    done = threading.Event()

    def act_there() -> None:
        try:
            act()
        finally:
            done.set()

    loop.call_soon_threadsafe(act_there)
    done.wait(BUSY_LOOP_s)


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
