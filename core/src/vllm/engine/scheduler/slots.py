"""Owns the arrays that every step touches, one row per slot: tokens, counts, stop rules, flags. No policy lives here.

Legend: S slots, L tokens of the longest context, K stop ids kept per slot, R some slots.
"""

from __future__ import annotations

import heapq

import numpy as np
import numpy.typing as npt

from vllm.engine.scheduler.request import Request
from vllm.messages import BoolArray, Delivery, Int32Array

__all__ = ["SlotTable"]

STOP_IDS_IN_ARRAY = 8
"""Stop ids compared by the vectorised search; a request with more is looked at by itself."""

Float64Array = npt.NDArray[np.float64]


class SlotTable:
    """Rows of free slots hold stale values: never read them."""

    def __init__(self, num_slots: int, max_model_len: int) -> None:
        def counts() -> Int32Array:
            return np.zeros(num_slots, np.int32)

        def flags() -> BoolArray:
            return np.zeros(num_slots, np.bool_)

        self.num_slots = num_slots
        # The system gives zeroed pages when they are first written: what no request reaches costs no memory.
        self.tokens_SL: Int32Array = np.zeros((num_slots, max_model_len), np.int32)
        self.num_prompt_S = counts()
        self.num_tokens_S = counts()
        """Known tokens: prompt and answered outputs."""
        self.num_computed_S = counts()
        """Tokens whose keys are written, counting those of the steps in flight."""
        self.num_pending_S = counts()
        """Tokens that steps in flight will add. Stays 0 where only one step is in flight at a time."""
        self.prefill_end_S = counts()
        """Tokens known when the slot was taken: up to here the request prefills."""
        self.max_total_S = counts()
        self.stop_from_S = counts()
        """A stop id counts from this many tokens on; past max_total_S where the request has no stop ids."""
        self.stop_ids_KS: Int32Array = np.zeros((STOP_IDS_IN_ARRAY, num_slots), np.int32)
        """The request's stop ids, the last one repeated. One row per id: comparing along slots is three times faster."""
        self.most_stop_ids = 0
        """Rows of stop_ids_KS that some request has ever needed."""
        self.streams_S = flags()
        """The front wants tokens at every step."""
        self.grammar_S = flags()
        """Sampling needs a mask that depends on all tokens before: never twice in flight."""
        self.inspected_S = flags()
        """Ends are looked for in Python, token by token: repetition detection, many stop ids."""
        self.gathers_logprobs_S = flags()
        """Log-probabilities are kept until the end."""
        self.num_cached_S = counts()
        self.last_token_time_S: Float64Array = np.zeros(num_slots, np.float64)
        self.request_id_S = np.full(num_slots, "", dtype=object)
        self.request_of: list[Request | None] = [None] * num_slots
        self._free = list(range(num_slots))

    @property
    def num_free(self) -> int:
        return len(self._free)

    def free_slots(self) -> list[int]:
        """In no order; for invariants."""
        return list(self._free)

    def request(self, slot: int) -> Request:
        """The request that holds the slot."""
        request = self.request_of[slot]
        assert request is not None, f"slot {slot} is free"
        return request

    def take(self, request: Request) -> int:
        """Give the lowest free slot to a request and fill its row; nothing of it is computed yet."""
        slot = heapq.heappop(self._free)
        self.request_of[slot] = request
        self.request_id_S[slot] = request.message.request_id
        self._fill_counts(slot, request)
        self._fill_stops(slot, request)
        self._fill_flags(slot, request)
        return slot

    def release(self, slot: int) -> None:
        """The slot is free again."""
        self.request_of[slot] = None
        self.request_id_S[slot] = ""
        heapq.heappush(self._free, slot)

    def token_ids(self, slot: int) -> Int32Array:
        """[known tokens] a view of the request's tokens."""
        return self.tokens_SL[slot, : self.num_tokens_S[slot]]

    def save_outputs(self, slot: int) -> None:
        """Copy outputs and times from the row to the request, which is about to leave it."""
        request = self.request(slot)
        request.output_token_ids = self.token_ids(slot)[request.num_prompt_tokens :].copy()
        if len(request.output_token_ids):
            request.last_token_time_s = float(self.last_token_time_S[slot])

    def _fill_counts(self, slot: int, request: Request) -> None:
        known = request.num_known_tokens
        self.tokens_SL[slot, :known] = request.known_token_ids
        self.num_prompt_S[slot] = request.num_prompt_tokens
        self.num_tokens_S[slot] = self.prefill_end_S[slot] = known
        self.num_computed_S[slot] = self.num_pending_S[slot] = 0
        self.max_total_S[slot] = request.max_total_tokens
        self.num_cached_S[slot] = request.num_cached_tokens
        self.last_token_time_S[slot] = request.last_token_time_s or 0.0

    def _fill_stops(self, slot: int, request: Request) -> None:
        stop_ids = request.message.stop_token_ids
        self.stop_from_S[slot] = request.max_total_tokens + 1
        if stop_ids:
            self.stop_from_S[slot] = request.num_prompt_tokens + request.message.sampling.min_tokens
            kept = stop_ids[:STOP_IDS_IN_ARRAY]
            self.stop_ids_KS[:, slot] = (*kept, *kept[-1:] * (STOP_IDS_IN_ARRAY - len(kept)))
            self.most_stop_ids = max(self.most_stop_ids, len(kept))

    def _fill_flags(self, slot: int, request: Request) -> None:
        message = request.message
        sampling = message.sampling
        self.streams_S[slot] = message.delivery is Delivery.EVERY_STEP
        self.grammar_S[slot] = sampling.structured_outputs is not None
        self.inspected_S[slot] = (
            sampling.repetition_detection is not None or len(message.stop_token_ids) > STOP_IDS_IN_ARRAY
        )
        wants_logprobs = sampling.logprobs is not None or bool(sampling.logprob_token_ids)
        self.gathers_logprobs_S[slot] = wants_logprobs and message.delivery is Delivery.AT_FINISH
