"""Owns the choice of what a step computes: decodes first, then prompts under way, then new requests, within the limits.

Legend: N rows of the step, A appended blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vllm.engine.kv_cache.manager import AppendedBlocks
from vllm.engine.scheduler.grouping import DecodeGroups
from vllm.engine.scheduler.request import Request
from vllm.engine.scheduler.state import SchedulerState
from vllm.messages import BoolArray, Int32Array, Int64Array, NewSlot, StepPlan

__all__ = ["StepPlanner"]


class _MustWait(Exception):
    """Nothing can be planned before the steps in flight are answered."""


@dataclass(slots=True)
class StepDraft:
    """A plan in the making: decode rows as arrays, prefill rows one by one."""

    decode_slots_N: Int32Array
    decode_computed_N: Int32Array
    decode_counts_N: Int32Array
    decode_samples_N: BoolArray
    appended: AppendedBlocks
    prefill_rows: list[tuple[int, int, int, bool]] = field(default_factory=list)
    """(slot, tokens computed before, tokens scheduled, whether the row samples)"""
    new: list[NewSlot] = field(default_factory=list)
    completed: list[int] = field(default_factory=list)
    """Slots whose last prompt token is in this step."""

    @property
    def num_decode_tokens(self) -> int:
        return int(self.decode_counts_N.sum())


class StepPlanner:
    """`plan()` makes one step and moves the state as if it had run already."""

    def __init__(self, state: SchedulerState, *, watermark_blocks: int) -> None:
        self.state = state
        self.watermark_blocks = watermark_blocks
        self.pipelined = state.max_inflight_steps > 1
        limits = state.limits
        self.decode_steps_since_prefill = limits.constraints.decode_steps_between_prefills
        self._groups: DecodeGroups | None = None
        if limits.groups_decodes:
            self._groups = DecodeGroups(limits.constraints, limits.block_size, state.slots.num_slots)
        self._ones_S = np.ones(state.slots.num_slots, np.int32)
        self._trues_S = np.ones(state.slots.num_slots, np.bool_)
        for shared in (self._ones_S, self._trues_S):  # plans hold views of them
            shared.setflags(write=False)

    def plan(self) -> StepPlan | None:
        """The next step; None if nothing can run now."""
        state = self.state
        if not (state.slot_of or len(state.waiting)) or len(state.inflight) >= state.max_inflight_steps:
            return None
        try:
            draft = self._draft()
        except _MustWait:
            return None
        if not (len(draft.decode_slots_N) or draft.prefill_rows):
            return None
        state.start_decoding(draft.completed)
        return self._submit(draft)

    # -- which rows -----------------------------------------------------------------------------------------------------------

    def _draft(self) -> StepDraft:
        constraints = self.state.limits.constraints
        if constraints.mixes_prefill_and_decode:
            draft = self._decodes()
            self._add_prefills(draft)
            return draft
        if (
            not len(self.state.decoding_N)
            or self.decode_steps_since_prefill >= constraints.decode_steps_between_prefills
        ):
            draft = self._no_decodes()
            self._add_prefills(draft)
            if draft.prefill_rows:
                return draft
        return self._decodes()

    def _no_decodes(self) -> StepDraft:
        nobody = self.state.decoding_N[:0]
        nothing = np.empty(0, np.int64)
        appended = self.state.kv.grow(nothing, nothing)
        return StepDraft(nobody, nobody, nobody, self._trues_S[:0], appended)

    def _decodes(self) -> StepDraft:
        """Decode rows, with blocks for their tokens; preempts from the end of the order until there are enough."""
        state = self.state
        while True:
            slots_N = self._ready_slots()
            index_N = slots_N.astype(np.intp)  # numpy's own index type: half the time of every look-up
            computed_N = state.slots.num_computed_S[index_N]
            counts_N, samples_N = self._decode_counts(index_N, computed_N)
            missing_N = state.kv.missing_blocks(index_N, computed_N + counts_N)
            if missing_N.sum() <= state.kv.pool.num_free:
                break
            if state.inflight:
                raise _MustWait
            state.preempt_last()
        appended = state.kv.grow(index_N, missing_N)
        state.slots.num_computed_S[index_N] = computed_N + counts_N
        if self._groups is not None:
            self._groups.took(slots_N)
        return StepDraft(slots_N, computed_N, counts_N, samples_N, appended)

    def _ready_slots(self) -> Int32Array:
        """Decoding slots that can go into this step, oldest first."""
        slots, slots_N = self.state.slots, self.state.decoding_N
        if self.pipelined:
            pending_N = slots.num_pending_S[slots_N]
            has_room_N = slots.num_tokens_S[slots_N] + pending_N < slots.max_total_S[slots_N]
            slots_N = slots_N[has_room_N & ~(slots.grammar_S[slots_N] & (pending_N > 0))]
        slots_N = slots_N[: self.state.limits.max_tokens]
        return slots_N if self._groups is None else self._groups.choose(slots_N, slots.num_computed_S[slots_N] + 1)

    def _decode_counts(self, slots_N: Int64Array, computed_N: Int32Array) -> tuple[Int32Array, BoolArray]:
        """Tokens that each decode row computes, 1 unless results came uneven, and whether it samples."""
        ones_N, trues_N = self._ones_S[: len(slots_N)], self._trues_S[: len(slots_N)]
        if not self.state.uneven:
            return ones_N, trues_N
        wanted_N = self.state.slots.num_tokens_S[slots_N] - computed_N
        counts_N = _within(wanted_N, self.state.limits.max_tokens)
        return counts_N, counts_N == wanted_N

    def _add_prefills(self, draft: StepDraft) -> None:
        # Decodes alone may be more than the largest step with a prompt in it.
        room = max(0, self.state.limits.max_tokens_with_prefill - draft.num_decode_tokens)
        for slot in self.state.prefilling:
            room -= self._add_chunk(draft, slot, room)
        self._admit_waiting(draft, room)

    def _admit_waiting(self, draft: StepDraft, room: int) -> None:
        state = self.state
        while state.waiting.has_next and room > 0 and self._has_seat():
            request = state.waiting.head()
            hit = self._find_hit(request)
            rest = request.num_known_tokens - len(hit) * state.kv.block_size
            if not (state.limits.chunk_tokens(rest, room) and self._fits(request, hit)):
                break
            state.waiting.pop()
            new = state.admit(request, hit)
            draft.new.append(new)
            room -= self._add_chunk(draft, new.slot, room)

    def _add_chunk(self, draft: StepDraft, slot: int, room: int) -> int:
        """Add the next piece of a prompt, if it fits; returns its tokens."""
        state, slots = self.state, self.state.slots
        computed = int(slots.num_computed_S[slot])
        remaining = int(slots.prefill_end_S[slot]) - computed
        count = state.limits.chunk_tokens(remaining, room)
        if count:
            draft.prefill_rows.append((slot, computed, count, count == remaining))
            slots.num_computed_S[slot] = computed + count
            # Findable at once: a step writes all its keys and values before it reads any, and steps run in order.
            state.kv.register_filled(slot, slots.tokens_SL[slot, : computed + count])
            if count == remaining:
                draft.completed.append(slot)
        return count

    # -- who may come in ------------------------------------------------------------------------------------------------------

    def _has_seat(self) -> bool:
        state = self.state
        return state.slots.num_free > 0 and len(state.prefilling) < state.limits.max_prefills

    def _find_hit(self, request: Request) -> list[int]:
        if not request.message.sampling.reads_prefix_cache:
            return []
        return self.state.kv.find_hit(request.chain, request.known_token_ids)

    def _fits(self, request: Request, hit: list[int]) -> bool:
        """Whether the blocks suffice, and the batch keeps to the device's rows × context budget even at full length (unless rows take
        turns, and each step keeps to it)."""
        state = self.state
        alone = not state.slot_of
        longest = max([request.max_total_tokens, *(self._longest_running() if not alone else ())])
        if not state.limits.groups_decodes and not state.limits.admits_context(len(state.slot_of) + 1, longest):
            return False
        return state.kv.can_take(request.num_known_tokens, hit, 0 if alone else self.watermark_blocks)

    def _longest_running(self) -> list[int]:
        limits = self.state.limits
        if limits.constraints.max_batch_context_tokens is None or limits.groups_decodes:
            return []
        return [int(self.state.slots.max_total_S[slot]) for slot in self.state.slot_of.values()]

    # -- the plan -------------------------------------------------------------------------------------------------------------

    def _submit(self, draft: StepDraft) -> StepPlan:
        state = self.state
        slots_N, computed_N, counts_N, samples_N = _joined_rows(draft)
        if self.pipelined:
            state.slots.num_pending_S[slots_N[samples_N]] += 1
        grammar_G = slots_N[samples_N & state.slots.grammar_S[slots_N]] if state.num_grammar else slots_N[:0]
        plan = StepPlan(
            step=state.next_step,
            slots_N=slots_N,
            num_computed_N=computed_N,
            num_scheduled_N=counts_N,
            samples_N=samples_N,
            total_tokens=int(counts_N.sum()),
            freed_slots=np.array(state.freed, np.int32),
            new=tuple(draft.new),
            appended_slots_A=draft.appended.slots_A,
            appended_index_A=draft.appended.index_A,
            appended_block_ids_A=draft.appended.block_ids_A,
            grammar_rows_G=grammar_G,
            starts_anew=state.starts_anew,
        )
        self.decode_steps_since_prefill = 0 if draft.prefill_rows else self.decode_steps_since_prefill + 1
        state.freed.clear()
        state.starts_anew = False
        state.inflight.append(plan.step)
        state.next_step += 1
        return plan


def _joined_rows(draft: StepDraft) -> tuple[Int32Array, Int32Array, Int32Array, BoolArray]:
    """Decode rows, then prefill rows: slots, computed, scheduled, samples."""
    decodes = (draft.decode_slots_N, draft.decode_computed_N, draft.decode_counts_N, draft.decode_samples_N)
    if not draft.prefill_rows:
        return decodes
    slots, computed, counts, samples = zip(*draft.prefill_rows, strict=True)
    return (
        np.concatenate([decodes[0], np.array(slots, np.int32)]),
        np.concatenate([decodes[1], np.array(computed, np.int32)]),
        np.concatenate([decodes[2], np.array(counts, np.int32)]),
        np.concatenate([decodes[3], np.array(samples, np.bool_)]),
    )


def _within(wanted_N: Int32Array, budget: int) -> Int32Array:
    """The wanted counts, cut so that every row gets at least one token and their sum stays within the budget."""
    extra_N = wanted_N - 1
    spare = budget - len(wanted_N)
    before_N = np.cumsum(extra_N) - extra_N
    counts_N: Int32Array = (1 + np.clip(spare - before_N, 0, extra_N)).astype(np.int32)
    return counts_N
