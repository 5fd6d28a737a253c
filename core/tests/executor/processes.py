"""Watching processes that tests start: whether they end, within a deadline, without asking again and again."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable

WITHIN_S = 5.0


def open_watches(pids: Iterable[int]) -> dict[int, int]:
    """pid → descriptor that becomes readable when the process ends; open it while the process lives."""
    return {pid: os.pidfd_open(pid) for pid in pids}


def still_alive(watches: dict[int, int], within_s: float = WITHIN_S) -> list[int]:
    """The processes that have not ended after the time; closes the watches."""
    deadline_s = time.monotonic() + within_s
    alive = []
    for pid, fd in watches.items():
        ended, _, _ = select.select([fd], [], [], max(0.0, deadline_s - time.monotonic()))
        if not ended:
            alive.append(pid)
        os.close(fd)
    return alive
