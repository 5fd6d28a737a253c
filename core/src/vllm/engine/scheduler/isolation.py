"""Owns finding out whose fault a failed step is: its requests run again in halves, nobody beside them, until one fails alone.

Everybody else waits meanwhile. A half is cleared when each of its requests has got past the token at which its step failed; the requests
of a half that fails are halved again. One that fails with nobody beside it ends with an error. Errors that depend on no single request
cannot be found in this way, so what comes of it is counted: an engine in which every step fails must end. What is no news does not count:
a prompt that failed before is tried again by its client, not by the engine's fault; and who left while its step ran may have been it.
"""

from __future__ import annotations

from collections.abc import Mapping

from vllm.engine.scheduler.state import SchedulerState
from vllm.logger import init_logger

__all__ = ["Isolation"]

logger = init_logger(__name__)

MOST_IN_A_ROW = 8
"""Different prompts that fail alone with no token between them, and failures that are nobody's with no good step of all between them."""


class Isolation:
    """The suspects and their trials. Only one step is in flight during a trial, so that its verdict is its own."""

    def __init__(self, state: SchedulerState) -> None:
        self._state = state
        self._trials: list[dict[str, int]] = []
        """Request id → tokens it must have computed to be cleared. The last trial is under way; who was cleared is gone from it."""
        self._is_explained = False
        """Somebody was convicted, or left who may have been it."""
        self._prompts_in_a_row: set[int] = set()
        """Hashes of the prompts that failed alone."""
        self._acquittals_in_a_row = 0

    @property
    def is_active(self) -> bool:
        """A trial is under way, or has just got its verdict."""
        return bool(self._trials) or self._state.waiting.only is not None

    @property
    def is_hopeless(self) -> bool:
        """Steps fail whoever is in them."""
        return max(len(self._prompts_in_a_row), self._acquittals_in_a_row) >= MOST_IN_A_ROW

    def blame(self, suspects: Mapping[str, int], *, some_left: bool) -> str | None:
        """A step failed, and everybody waits.

        Args:
            suspects: the live requests that were in it, and how many tokens of each it ended with.
            some_left: others were in it too, which have ended since it was planned.

        Returns:
            The request that is convicted, if one is: the caller ends it.
        """
        if self._trials:
            untried = {each: tokens for each, tokens in self._trials.pop().items() if each not in suspects}
            self._trials += [untried] if untried else []
        else:
            self._is_explained = False
        self._is_explained |= some_left
        if len(suspects) == 1 and not some_left:
            return self._convict(*suspects)
        if suspects:
            logger.warning(
                "A step failed; %d requests of it run again in halves to find whose fault it is.", len(suspects)
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
        self._prompts_in_a_row.clear()
        if not self._trials:
            self._acquittals_in_a_row = 0

    def _convict(self, request_id: str) -> str:
        self._is_explained = True
        self._prompts_in_a_row.add(hash(self._state.waiting.find(request_id).message.prompt_token_ids.tobytes()))
        logger.error("Request %s fails with no other beside it, and ends with an error.", request_id)
        return request_id

    def _acquit(self) -> None:
        """All trials are over."""
        if not self._is_explained:
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
