"""Owns finding out whose fault a failed step is: its requests run again in halves, nobody beside them, until one fails alone.

Everybody else waits meanwhile. A half is cleared when each of its requests has got past the token at which its step failed; the requests
of a half that fails are halved again. One that fails with nobody beside it ends with an error. Errors that depend on no single request
cannot be found in this way, so what comes of it is counted: an engine in which every step fails must end.
"""

from __future__ import annotations

from collections.abc import Mapping

from vllm.engine.scheduler.state import SchedulerState
from vllm.logger import init_logger

__all__ = ["Isolation"]

logger = init_logger(__name__)

MOST_IN_A_ROW = 8
"""Requests that fail alone with no token between them, and failures that are nobody's with no good step of everybody between them."""


class Isolation:
    """The suspects and their trials. Only one step is in flight during a trial, so that its verdict is its own."""

    def __init__(self, state: SchedulerState) -> None:
        self._state = state
        self._trials: list[dict[str, int]] = []
        """Request id → tokens it must have computed to be cleared. The last trial is under way; who was cleared is gone from it."""
        self._convicted = False
        self._convictions_in_a_row = 0
        self._acquittals_in_a_row = 0

    @property
    def is_active(self) -> bool:
        """A trial is under way, or has just got its verdict."""
        return bool(self._trials) or self._state.waiting.only is not None

    @property
    def is_hopeless(self) -> bool:
        """Steps fail whoever is in them."""
        return max(self._convictions_in_a_row, self._acquittals_in_a_row) >= MOST_IN_A_ROW

    def blame(self, suspects: Mapping[str, int]) -> str | None:
        """A step failed, and everybody waits. `suspects`: the live requests that were in it, and how many tokens of each it ended with.

        Returns the request that is convicted, if one is: the caller ends it.
        """
        if self._trials:
            untried = {each: tokens for each, tokens in self._trials.pop().items() if each not in suspects}
            self._trials += [untried] if untried else []
        else:
            self._convicted = False
        if len(suspects) == 1:
            return self._convict(*suspects)
        logger.warning(
            "A step of %d requests failed; they run again in halves to find whose fault it is.", len(suspects)
        )
        self._trials += _halves(suspects)
        if not self._trials:
            self._acquit()
        return None

    def settle(self) -> None:
        """Before a step is planned, while none is in flight: the next trial, if this one has its verdict."""
        while self._trials and not self._waits_for_verdict(self._trials[-1]):
            self._trials.pop()
            if self._trials:
                self._state.preempt_all()
            else:
                self._acquit()
        self._state.waiting.only = frozenset(self._trials[-1]) if self._trials else None

    def note_step(self, *, gave_tokens: bool) -> None:
        """A step went well. Only tokens tell: a piece of a prompt goes its way without a sampler."""
        if not gave_tokens:
            return
        self._convictions_in_a_row = 0
        if not self._trials:
            self._acquittals_in_a_row = 0

    def _convict(self, request_id: str) -> str:
        self._convicted = True
        self._convictions_in_a_row += 1
        logger.error("Request %s fails with no other beside it, and ends with an error.", request_id)
        return request_id

    def _acquit(self) -> None:
        """All trials are over."""
        if not self._convicted:
            self._acquittals_in_a_row += 1
            logger.warning("No request fails by itself; all of them go on together.")

    def _waits_for_verdict(self, trial: dict[str, int]) -> bool:
        """Whether somebody in it has not got far enough yet. Whoever has, or is gone, is struck off."""
        state = self._state
        for request_id, tokens in list(trial.items()):
            slot = state.slot_of.get(request_id)
            is_past = slot is not None and int(state.slots.num_computed_S[slot]) >= tokens
            if is_past or (slot is None and request_id not in state.waiting):
                del trial[request_id]
        return bool(trial)


def _halves(suspects: Mapping[str, int]) -> list[dict[str, int]]:
    """The one to be tried first stands last."""
    each = list(suspects.items())
    parts = (each[len(each) // 2 :], each[: len(each) // 2])
    return [dict(part) for part in parts if part]
