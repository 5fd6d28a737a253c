"""Owns what all reasoning programs share: what was told so far, and the running of the program."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

from vllm.entrypoints.openai.parsers_interface import ContentDelta, ReasoningDelta, ReasoningStream
from vllm.entrypoints.openai.text_source import Program, TextSource

__all__ = ["ReasoningProgram"]


class ReasoningProgram(ReasoningStream):
    """A reasoning stream whose reading is the generator `read`, a sequential program over `source` (see `TextSource`)."""

    def __init__(self) -> None:
        self.source = TextSource()
        self._deltas: list[ReasoningDelta | ContentDelta] = []
        self._running: Program[None] | None = self.read()

    @abstractmethod
    def read(self) -> Program[None]:
        """The whole output, from its first character to its end."""

    def feed(self, text: str, token_ids: Sequence[int] = ()) -> list[ReasoningDelta | ContentDelta]:
        self.source.add(text)
        return self._run()

    def finish(self) -> list[ReasoningDelta | ContentDelta]:
        self.source.ended = True
        return self._run()

    def content(self, text: str) -> None:
        """Say text of the answer."""
        self._deltas.append(ContentDelta(text))

    def reasoning(self, text: str) -> None:
        """Say text of the reasoning."""
        self._deltas.append(ReasoningDelta(text))

    def _run(self) -> list[ReasoningDelta | ContentDelta]:
        if self._running is not None and next(self._running, self) is self:
            self._running = None
        deltas, self._deltas = self._deltas, []
        return deltas
