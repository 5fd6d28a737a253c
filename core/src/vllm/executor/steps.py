"""Owns the rules of a step that every executor shares: which calls may follow which, and what a failed engine answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.errors import EngineDeadError, in_a_sentence

if TYPE_CHECKING:
    from vllm.messages import Int32Array, StepPlan

__all__ = ["Failure", "check_mask"]


def check_mask(plan: StepPlan, grammar_mask_GW: Int32Array | None) -> None:
    """Raise ValueError unless there is one mask row for each of the plan's grammar rows."""
    rows = len(plan.grammar_rows_G)
    given = 0 if grammar_mask_GW is None else len(grammar_mask_GW)
    if rows != given:
        raise ValueError(f"step {plan.step} has {rows} rows with a grammar, but masks for {given} were given")


class Failure:
    """Remembers the error that ended the engine; from then on `check` raises EngineDeadError."""

    def __init__(self) -> None:
        self._first: BaseException | None = None

    def record(self, error: BaseException) -> None:
        """The first error counts; later ones are its consequences."""
        self._first = self._first or error

    @property
    def happened(self) -> bool:
        return self._first is not None

    def check(self) -> None:
        """Raise if the engine failed before."""
        if self._first is not None:
            raise EngineDeadError(
                f"The engine has stopped: {in_a_sentence(self._first)}",
                remedy="create a new engine; the requests that were under way are lost",
            ) from self._first
