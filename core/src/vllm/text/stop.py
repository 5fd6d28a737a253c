"""Owns stop strings: finding the first one in a growing text, wherever the pieces were cut, and holding back what may become one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["StopMatch", "StopStrings"]


@dataclass(frozen=True, kw_only=True, slots=True)
class StopMatch:
    """The stop string that ended a text, at `text[start:end]`."""

    stop: str
    start: int
    end: int


class StopStrings:
    """The stop strings of one request. The answer never depends on how the text was cut into pieces:

    the stop string that is complete first wins, and of several complete at the same character the longest.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = tuple(sorted(stops, key=len, reverse=True))
        self._beginnings = frozenset(stop[:length] for stop in self._stops for length in range(1, len(stop)))
        self._longest_beginning = max(map(len, self._beginnings), default=0)

    def find(self, text: str, new_from: int) -> StopMatch | None:
        """The first stop string that ends behind `new_from`, the length of the text when it was last searched."""
        first: StopMatch | None = None
        for stop in self._stops:
            start = text.find(stop, max(0, new_from - len(stop) + 1))
            if start >= 0 and (first is None or start + len(stop) < first.end):
                first = StopMatch(stop=stop, start=start, end=start + len(stop))
        return first

    def held_back_chars(self, text: str) -> int:
        """Length of the longest end of `text` that begins a stop string and so must not be shown yet."""
        for length in range(min(len(text), self._longest_beginning), 0, -1):
            if text[-length:] in self._beginnings:
                return length
        return 0
