"""Owns what happens when a step's result arrives: tokens are appended, ends found, blocks registered, reports made.

Legend: R rows of the result (one per slot that yielded tokens), M tokens of the result, row after row.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np

from vllm.engine.scheduler import logprobs as logprob_rows
from vllm.engine.scheduler.repetition import ends_in_repetition
from vllm.engine.scheduler.state import SchedulerState
from vllm.messages import (
    BoolArray,
    EngineStepOutput,
    FinishReason,
    Int32Array,
    Int64Array,
    PromptLogprobs,
    RequestTokens,
    SampledLogprobs,
    StepOutput,
    StepPlan,
)

__all__ = ["StepUpdater"]

FEWEST_REGISTRATIONS = 64
"""Filled blocks that a step registers at least, if there are so many."""


@dataclass(frozen=True, slots=True)
class Yield:
    """What the rows of a step gave."""

    slots_R: Int64Array
    counts_R: Int32Array
    tokens_M: Int32Array
    logprobs: SampledLogprobs | None

    @property
    def is_even(self) -> bool:
        """One token for every row."""
        return len(self.slots_R) == len(self.tokens_M) and bool((self.counts_R == 1).all())

    def of_rows(self, kept_R: BoolArray) -> Yield:
        """Without the other rows."""
        return self.of_tokens(np.repeat(kept_R, self.counts_R), self.counts_R * kept_R, kept_R)

    def of_tokens(self, kept_M: BoolArray, counts_R: Int32Array, kept_R: BoolArray) -> Yield:
        """Only some tokens of some rows; `counts_R`: how many of each row's tokens are kept."""
        logprobs = logprob_rows.kept(self.logprobs, kept_M)
        return Yield(self.slots_R[kept_R], counts_R[kept_R].astype(np.int32), self.tokens_M[kept_M], logprobs)


class StepUpdater:
    """`apply()` takes one result. Even results, one token per row, cost no Python per row."""

    def __init__(self, state: SchedulerState) -> None:
        self.state = state
        self.pipelined = state.max_inflight_steps > 1
        # Registering a filled block costs Python, and all rows of a batch may fill theirs in the same step. Twice the mean rate keeps up.
        self.most_registrations = max(FEWEST_REGISTRATIONS, 2 * state.slots.num_slots // state.kv.block_size)

    def apply(self, plan: StepPlan, output: StepOutput) -> EngineStepOutput:
        """Take the result of the oldest step in flight."""
        state, now_s = self.state, time.monotonic()
        assert plan.step == output.step, f"plan {plan.step}, result {output.step}"
        oldest = state.inflight.popleft()
        assert oldest == plan.step, f"step {oldest} is to be answered before step {plan.step}"
        if self.pipelined:
            state.slots.num_pending_S[output.slots_N] -= 1
        prompt_logprobs = tuple(self._owned(part) for part in output.prompt_logprobs if part.slot not in state.leaving)
        # Slots as numpy's own index type: half the time of every look-up.
        given = Yield(output.slots_N.astype(np.intp), output.counts_N, output.token_ids_M, output.logprobs)
        if state.leaving:  # their tokens came too late
            given = given.of_rows(~np.isin(given.slots_R, list(state.leaving)))
        tokens = self._take(given, now_s)
        state.release_answered(plan.step)
        return replace(self.reports(), tokens=tokens, prompt_logprobs=prompt_logprobs)

    def reports(self) -> EngineStepOutput:
        """The ends that have not been told yet."""
        state = self.state
        output = EngineStepOutput(
            tokens=None, finished=tuple(state.ended), finished_logprobs=tuple(state.ended_logprobs)
        )
        state.ended.clear()
        state.ended_logprobs.clear()
        return output

    def _take(self, given: Yield, now_s: float) -> RequestTokens | None:
        """Append, report, register, end: in this order, since an ended request has no slot to read from."""
        if given.is_even:
            ended_R = self._append(given.slots_R, given.tokens_M, now_s)
        else:
            given, ended_R = self._append_uneven(given, now_s)
        self.state.counters.generation_tokens += len(given.tokens_M)
        if self.state.num_gathering and given.logprobs is not None:
            self._gather_logprobs(given, given.logprobs)
        tokens = self._streamed(given)
        self._register_filled(given.slots_R)
        if ended_R.any():
            self.state.end([self._end_of(slot) for slot in given.slots_R[ended_R].tolist()])
        return tokens

    # -- appending ------------------------------------------------------------------------------------------------------------

    def _append(self, slots_R: Int64Array, tokens_R: Int32Array, now_s: float) -> BoolArray:
        """Append one token to each slot; returns which of them have ended."""
        slots = self.state.slots
        known_R = slots.num_tokens_S[slots_R]
        slots.tokens_SL[slots_R, known_R] = tokens_R
        total_R = known_R + 1
        slots.num_tokens_S[slots_R] = total_R
        self._note_times(slots_R, known_R == slots.num_prompt_S[slots_R], now_s)
        is_stop_R = (slots.stop_ids_KS[: slots.most_stop_ids].take(slots_R, axis=1) == tokens_R).any(axis=0)
        ended_R = (total_R >= slots.max_total_S[slots_R]) | (is_stop_R & (total_R >= slots.stop_from_S[slots_R]))
        if self.state.num_inspected:
            for row in np.nonzero(slots.inspected_S[slots_R])[0].tolist():
                ended_R[row] = ended_R[row] or self._ends_on_inspection(int(slots_R[row]))
        return np.asarray(ended_R)

    def _append_uneven(self, given: Yield, now_s: float) -> tuple[Yield, BoolArray]:
        """Append 0 or more tokens to each slot, up to its end; returns what was taken, and which rows have ended."""
        if self.pipelined:
            raise AssertionError(
                "A row yielded 0 or several tokens while the next step was planned for exactly one; "
                "such a model runs with max_inflight_steps=1."
            )
        self.state.uneven = True
        starts_R = np.cumsum(given.counts_R) - given.counts_R
        taken_R = np.zeros_like(given.counts_R)
        ended_R = np.zeros(len(given.slots_R), np.bool_)
        for nth in range(int(given.counts_R.max(initial=0))):
            rows = np.nonzero((given.counts_R > nth) & ~ended_R)[0]
            ended_R[rows] = self._append(given.slots_R[rows], given.tokens_M[starts_R[rows] + nth], now_s)
            taken_R[rows] += 1
        slots = self.state.slots
        # The last known token is always still to be computed; drafts that were not taken were computed in vain.
        slots.num_computed_S[given.slots_R] = np.minimum(
            slots.num_computed_S[given.slots_R], slots.num_tokens_S[given.slots_R] - 1
        )
        nth_M = np.arange(len(given.tokens_M)) - np.repeat(starts_R, given.counts_R)
        kept_M = nth_M < np.repeat(taken_R, given.counts_R)
        has_tokens_R = taken_R > 0
        return given.of_tokens(kept_M, taken_R, has_tokens_R), ended_R[has_tokens_R]

    def _note_times(self, slots_R: Int64Array, first_R: BoolArray, now_s: float) -> None:
        """When the tokens came; `first_R`: the first ones of their requests, which have no gap before them."""
        slots, last_R = self.state.slots, self.state.slots.last_token_time_S[slots_R]
        if first_R.any():
            for slot in slots_R[first_R].tolist():
                slots.request(slot).first_token_time_s = now_s
            last_R = last_R[~first_R]
        self.state.counters.inter_token_times.add(now_s - last_R)
        slots.last_token_time_S[slots_R] = now_s

    # -- ends -----------------------------------------------------------------------------------------------------------------

    def _ends_on_inspection(self, slot: int) -> bool:
        """Whether a rule that the arrays do not hold ends the request here."""
        sampling = self.state.slots.request(slot).message.sampling
        total = int(self.state.slots.num_tokens_S[slot])
        outputs = self._outputs(slot)
        if len(outputs) < sampling.min_tokens:
            return False
        if total >= self.state.slots.stop_from_S[slot] and self._last_is_stop(slot):
            return True
        detection = sampling.repetition_detection
        return detection is not None and ends_in_repetition(outputs, detection)

    def _end_of(self, slot: int) -> tuple[int, FinishReason, int | None]:
        """(slot, reason, stop token that is not EOS) of a request that has just ended; a stop token counts before the length."""
        slots = self.state.slots
        total = slots.num_tokens_S[slot]
        if total >= slots.stop_from_S[slot] and self._last_is_stop(slot):
            last = int(slots.tokens_SL[slot, total - 1])
            is_eos = last in slots.request(slot).message.eos_token_ids
            return slot, FinishReason.STOP, None if is_eos else last
        if total >= slots.max_total_S[slot]:
            return slot, FinishReason.LENGTH, None
        return slot, FinishReason.REPETITION, None

    def _last_is_stop(self, slot: int) -> bool:
        return int(self.state.slots.token_ids(slot)[-1]) in self.state.slots.request(slot).message.stop_token_ids

    def _outputs(self, slot: int) -> Int32Array:
        return self.state.slots.token_ids(slot)[self.state.slots.num_prompt_S[slot] :]

    # -- blocks ---------------------------------------------------------------------------------------------------------------

    def _register_filled(self, slots_R: Int64Array) -> None:
        """Put blocks that decoding has filled into the prefix cache, a bounded number per step; the rest has its turn in the next."""
        slots, kv = self.state.slots, self.state.kv
        written_R = np.minimum(slots.num_tokens_S[slots_R], slots.num_computed_S[slots_R])
        rows: Int64Array = kv.rows_with_filled(slots_R, written_R)[: self.most_registrations]
        if len(rows):
            kv.register_next(slots_R[rows], slots.tokens_SL)

    # -- reports --------------------------------------------------------------------------------------------------------------

    def _streamed(self, given: Yield) -> RequestTokens | None:
        """The tokens of the requests that want them now."""
        slots = self.state.slots
        streams_R = slots.streams_S[given.slots_R]
        if not streams_R.all():
            given = given.of_rows(streams_R)
        if not len(given.slots_R):
            return None
        return RequestTokens(
            request_ids=slots.request_id_S[given.slots_R].tolist(),
            counts_R=given.counts_R,
            token_ids_M=given.tokens_M,
            num_cached_tokens_R=slots.num_cached_S[given.slots_R],
            logprobs=given.logprobs,
        )

    def _gather_logprobs(self, given: Yield, logprobs: SampledLogprobs) -> None:
        """Keep the log-probabilities of requests that want them at their end; one record per token of these requests."""
        slots = self.state.slots
        slot_M = np.repeat(given.slots_R, given.counts_R)
        ends_M = np.repeat(np.cumsum(given.counts_R), given.counts_R)
        index_M = slots.num_tokens_S[slot_M] - slots.num_prompt_S[slot_M] - (ends_M - np.arange(len(slot_M)))
        slot_L = slot_M[logprobs.rows_R]
        for row in np.nonzero(slots.gathers_logprobs_S[slot_L])[0].tolist():
            index = int(index_M[logprobs.rows_R[row]])
            slots.request(int(slot_L[row])).logprobs.append(logprob_rows.of_row(logprobs, row, index))

    def _owned(self, part: PromptLogprobs) -> tuple[str, PromptLogprobs]:
        request = self.state.slots.request(part.slot)
        request.num_prompt_logprobs_done = part.start - 1 + len(part.token_ids_TK)
        return request.message.request_id, part
