"""Owns keeping out of the log what a law makes fail on purpose: whoever reads it beside the table would take it for real."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["planned_failures"]

_STEPS, _CULPRITS = "vllm.engine.core", "vllm.engine.scheduler.isolation"
"""Who tells of a failed step, and who then tells whose fault it is."""


@contextmanager
def planned_failures(words: str) -> Iterator[None]:
    """Within, steps that fail with an error of these words are not logged, nor the search for whose fault it is. All else is."""
    planned = _Planned(words)
    loggers = [logging.getLogger(name) for name in (_STEPS, _CULPRITS)]
    for each in loggers:
        each.addFilter(planned)
    try:
        yield
    finally:
        for each in loggers:
            each.removeFilter(planned)


class _Planned(logging.Filter):
    """Once another error has come, nothing is kept out: the search may be for that one's culprit."""

    def __init__(self, words: str) -> None:
        super().__init__()
        self._words = words
        self._all_is_planned = True

    def filter(self, record: logging.LogRecord) -> bool:
        if record.name == _CULPRITS:
            return not self._all_is_planned
        if record.levelno < logging.ERROR:
            return True
        error = record.exc_info[1] if record.exc_info else None
        is_planned = error is not None and self._words in str(error)
        self._all_is_planned &= is_planned
        return not is_planned
