"""Owns the thread in which a core compiles grammars: the steps of other requests go on meanwhile. llguidance compiles without the GIL."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vllm.engine.core_client.messages import Add
    from vllm.sampling.structured_output import GrammarState
    from vllm.sampling_params import StructuredOutputsParams

__all__ = ["Compiled", "GrammarThread"]

PATIENCE_s = 8.0
"""More than a grammar takes that was compiled once already, in time; less than the front waits for the core's end."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A request that has its grammars, one per output; or has none, and why."""

    add: Add
    grammars: list[GrammarState]
    error: BaseException | None


class GrammarThread:
    """Starts with the first request, ends at `close`."""

    def __init__(
        self, compile_grammar: Callable[[StructuredOutputsParams], GrammarState], tell: Callable[[Compiled], None]
    ) -> None:
        """`tell` is called in this thread."""
        self._compile, self._tell = compile_grammar, tell
        self._waiting: queue.SimpleQueue[Add | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def put(self, add: Add) -> None:
        """Compile what a request with a constraint needs, after those that came before."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="grammars", daemon=True)
            self._thread.start()
        self._waiting.put(add)

    def close(self) -> None:
        """Compile no more, and wait for what is being compiled: native code must not come back to an interpreter that has ended."""
        self._is_closed = True
        self._waiting.put(None)
        if self._thread is not None:
            self._thread.join(PATIENCE_s)

    def _run(self) -> None:
        while (add := self._waiting.get()) is not None and not self._is_closed:
            self._tell(self._compiled(add))

    def _compiled(self, add: Add) -> Compiled:
        constraint = add.requests[0].sampling.structured_outputs
        assert constraint is not None, "others need no grammar"
        try:
            first = self._compile(constraint)
            return Compiled(add, [first, *(first.copy() for _ in add.requests[1:])], None)
        except BaseException as error:  # noqa: BLE001 - a panic in native code too: the request is told, the thread goes on
            return Compiled(add, [], error)
