"""Owns the text that a parser reads while it still grows. Parsers are plain sequential programs that wait for more where they must.

A program is a generator: it yields where the text at hand does not decide, and goes on when there is more or the text has ended. So one
program reads a stream and a whole text alike, and no tag is half given out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from functools import lru_cache
from typing import TypeVar

from vllm.entrypoints.openai.value_scanner import ValueScanner

__all__ = ["Program", "TextSource", "ignore"]

T = TypeVar("T")
Program = Generator[None, None, T]
Sink = Callable[[str], object]

_BLANK = re.compile(r"\s*")


def ignore(_text: str) -> None:
    """A sink for what nobody wants."""


class TextSource:
    """A growing text and a place in it. What was passed is dropped, except behind a `pin`."""

    def __init__(self) -> None:
        self._text = ""
        self._dropped = 0
        self._at = 0
        self._pins: list[int] = []
        self.ended = False

    def add(self, text: str) -> None:
        """More text; what nobody can come back to is dropped."""
        keep_from = min([self._at, *(pin - self._dropped for pin in self._pins)])
        self._text = self._text[keep_from:] + text
        self._dropped += keep_from
        self._at -= keep_from

    def pin(self) -> None:
        """Remember this place, to `rewind` to it, innermost first, unless `commit` comes before."""
        self._pins.append(self._dropped + self._at)

    def commit(self) -> None:
        """Forget all pins: what was read has been given out, nobody goes back."""
        self._pins.clear()

    def rewind(self) -> None:
        """Go back to the innermost pin and forget it."""
        self._at = self._pins.pop() - self._dropped

    def peek(self, count: int = 1) -> Program[str]:
        """The next `count` characters; fewer only at the end."""
        while len(self._text) < self._at + count and not self.ended:
            yield
        return self._text[self._at : self._at + count]

    def at_end(self) -> Program[bool]:
        """Whether nothing follows any more."""
        return (yield from self.peek()) == ""

    def skip_blank(self) -> Program[str]:
        """Pass white space; gives it."""
        passed = ""
        while True:
            blank = _BLANK.match(self._text, self._at)
            assert blank is not None
            passed += blank.group()
            self._at = blank.end()
            if self._at < len(self._text) or self.ended:
                return passed
            yield

    def take(self, tag: str) -> Program[bool]:
        """Pass `tag` if it comes next."""
        while self._at + len(tag) > len(self._text) and not self.ended and tag.startswith(self._text[self._at :]):
            yield
        found = self._text.startswith(tag, self._at)
        self._at += len(tag) if found else 0
        return found

    def take_any(self, *tags: str) -> Program[str]:
        """Pass the first of `tags` that comes next; "" if none does."""
        for tag in tags:
            if (yield from self.take(tag)):
                return tag
        return ""

    def take_match(self, pattern: re.Pattern[str]) -> Program[str]:
        """Pass what `pattern` matches here, which must go on for as long as it can; "" if it does not match."""
        while (found := pattern.match(self._text, self._at)) is None or found.end() == len(self._text):
            if self.ended or (found is None and self._at < len(self._text)):
                break
            yield
        matched = found.group() if found else ""
        self._at += len(matched)
        return matched

    def copy_until(self, tags: Sequence[str], sink: Sink) -> Program[str]:
        """Give text to `sink` up to the first of `tags`, which is passed and named; "" where the text ends without one."""
        pattern = _any_of(tuple(tags))
        while True:
            if found := pattern.search(self._text, self._at):
                self._give(found.start(), sink)
                self._at = found.end()
                return found.group()
            self._give(len(self._text) - (0 if self.ended else self._undecided(tags)), sink)
            if self.ended:
                return ""
            yield

    def copy_rest(self, sink: Sink) -> Program[None]:
        """Give everything that is still to come to `sink`."""
        while True:
            self._give(len(self._text), sink)
            if self.ended:
                return
            yield

    def copy_value(self, scanner: ValueScanner, sink: Sink) -> Program[bool]:
        """Give one value to `sink` as it arrives; False where its brackets do not match or it is cut off."""
        while True:
            piece, length = scanner.scan(self._text, self._at)
            self._at += length
            if piece:
                sink(piece)
            if scanner.done or scanner.failed:
                return scanner.done
            if self.ended:
                return scanner.ends_with_text
            yield

    def _give(self, end: int, sink: Sink) -> None:
        if end > self._at:
            sink(self._text[self._at : end])
            self._at = end

    def _undecided(self, tags: Sequence[str]) -> int:
        """How many characters at the end may be the beginning of a tag."""
        longest = min(max(map(len, tags)) - 1, len(self._text) - self._at)
        ends = (length for length in range(longest, 0, -1))
        return next((length for length in ends if any(tag.startswith(self._text[-length:]) for tag in tags)), 0)


@lru_cache(maxsize=256)
def _any_of(tags: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, tags)))
