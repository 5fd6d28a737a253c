"""Owns how an answer reaches the terminal: its text on standard output; what the model thought before it, dimmed, on standard error."""

from __future__ import annotations

import sys
from dataclasses import dataclass

__all__ = ["AnswerPrinter", "Piece"]

_DIM, _RESET = "\033[2m", "\033[0m"
_ONLY_REASONING = (
    "The model ended before its answer: only reasoning came (above). More of it may fit into a higher --max-tokens; "
    "a model that does not reason needs a server without --reasoning-parser."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """What is new of an answer."""

    text: str = ""
    reasoning: str = ""


class AnswerPrinter:
    """Prints one answer, piece by piece. What is piped holds the text alone."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._is_thinking = False
        self._has_thought = False

    def add(self, piece: Piece) -> None:
        """Print what is new."""
        if piece.reasoning:
            self._think(piece.reasoning)
        if piece.text:
            self._end_thinking()
            print(piece.text, end="", flush=True)
            self._texts.append(piece.text)

    def end(self) -> str:
        """End the line; gives the whole text."""
        self._end_thinking()
        if self._has_thought and not self._texts:
            print(_ONLY_REASONING, file=sys.stderr)
        else:
            print()
        return "".join(self._texts)

    def _think(self, text: str) -> None:
        if sys.stderr.isatty():
            text = f"{_DIM}{text}{_RESET}"
        print(text, end="", file=sys.stderr, flush=True)
        self._is_thinking = self._has_thought = True

    def _end_thinking(self) -> None:
        if self._is_thinking:
            print(file=sys.stderr, flush=True)
        self._is_thinking = False
