"""Owns the measuring of stages: functions of living objects are timed from outside, inner stages are taken off outer ones."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

__all__ = ["Stopwatch"]


class Stopwatch:
    """Adds up each stage's own time, step by step. For one thread."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self.steps: list[dict[str, float]] = []
        """One entry per step: stage -> its own seconds (without the stages inside it)."""
        self._now: defaultdict[str, float] = defaultdict(float)
        self._inner_s = [0.0]

    def watch(self, owner: Any, method: str, stage: str) -> None:
        """From now on `owner.method(…)` is counted under `stage`."""
        setattr(owner, method, self.timed(getattr(owner, method), stage))

    def timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        """The same function, counted under `stage`."""

        def run(*args: Any, **kwargs: Any) -> Any:
            self._inner_s.append(0.0)
            start_s = self._clock()
            try:
                return function(*args, **kwargs)
            finally:
                whole_s = self._clock() - start_s
                self._now[stage] += whole_s - self._inner_s.pop()
                self._inner_s[-1] += whole_s

        return run

    def end_step(self) -> None:
        """What was counted since the last call was one step."""
        self.steps.append(dict(self._now))
        self._now.clear()
        self._inner_s = [0.0]
