"""Owns the grammar states of running requests: kept from arrival on, asked for masks before sampling, advanced by the tokens after."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np

from vllm.logger import init_logger
from vllm.sampling.structured_output import allocate_bitmask

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from vllm.messages import Int32Array, StepOutput, StepPlan
    from vllm.sampling.structured_output import GrammarFactory, GrammarState
    from vllm.sampling_params import StructuredOutputsParams

__all__ = ["GrammarManager", "RequestOfSlot"]

logger = init_logger(__name__)


class RequestOfSlot(Protocol):
    """Who runs in a slot (None: nobody any more)."""

    def __call__(self, slot: int) -> str | None: ...


class GrammarManager:
    """Lives beside the scheduler. A preempted request keeps its state: its tokens are not generated again."""

    def __init__(self, factory: GrammarFactory | None) -> None:
        """`factory` is None for an engine without a tokenizer, which takes no grammar requests."""
        self._factory = factory
        self._states: dict[str, GrammarState] = {}

    def compile(self, constraint: StructuredOutputsParams) -> GrammarState:
        """A request's grammar; raises InvalidRequestError where the constraint is unusable. From any thread."""
        assert self._factory is not None, "the input processor refuses grammars without a tokenizer"
        return self._factory.new_state(constraint)

    def add(self, request_id: str, state: GrammarState) -> None:
        """Keep a request's grammar until the request ends."""
        self._states[request_id] = state

    def forget(self, request_ids: Iterable[str]) -> None:
        """Requests that ended; those without a grammar are ignored."""
        for request_id in request_ids:
            self._states.pop(request_id, None)

    def masks(self, request_ids: Sequence[str]) -> Int32Array:
        """Allowed-token bits of each request's next token, int32 [requests, ceil(vocab / 32)]."""
        assert self._factory is not None, "only requests with a grammar want masks"
        mask_GW = allocate_bitmask(len(request_ids), self._factory.vocab_size)
        states = [self._states[request_id] for request_id in request_ids]
        self._factory.fill_bitmasks(states, range(len(states)), mask_GW)
        return mask_GW

    def advance(self, plan: StepPlan, output: StepOutput, request_of_slot: RequestOfSlot) -> list[str]:
        """Feed the step's tokens to the grammars of `plan.grammar_rows_G`; call it before the scheduler's update.

        Returns:
            Ids of requests whose grammar refused a token although its mask allowed it: the grammar outgrew its limits.
        """
        if not len(plan.grammar_rows_G):
            return []
        starts = np.cumsum(output.counts_N) - output.counts_N
        row_of_slot = {int(slot): row for row, slot in enumerate(output.slots_N)}
        failed = []
        for slot in map(int, plan.grammar_rows_G):
            row, request_id = row_of_slot.get(slot), request_of_slot(slot)
            if row is None or request_id is None or request_id not in self._states:
                continue  # ended while the step ran
            tokens = output.token_ids_M[starts[row] : starts[row] + output.counts_N[row]].tolist()
            if not self._accept_all(request_id, tokens):
                failed.append(request_id)
        return failed

    def _accept_all(self, request_id: str, token_ids: list[int]) -> bool:
        state = self._states[request_id]
        if all(state.is_ended or state.accept(token_id) for token_id in token_ids):
            return True
        logger.error("The grammar of request %s cannot go on: %s", request_id, state.error)
        return False
