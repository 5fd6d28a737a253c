"""Owns which request stands where — waiting, prefilling, decoding, leaving, ended — and the moves between these places.

A request leaves in two steps where its tokens are still being computed: it is reported at once, while its slot and blocks stay taken
until the last step that may touch them has been answered.
"""

from __future__ import annotations

import time
from collections import deque

import numpy as np

from vllm.engine.kv_cache.manager import KVCacheManager
from vllm.engine.scheduler.inter_token import InterTokenTimes
from vllm.engine.scheduler.limits import StepLimits
from vllm.engine.scheduler.logprobs import join
from vllm.engine.scheduler.request import Request
from vllm.engine.scheduler.slots import SlotTable
from vllm.engine.scheduler.waiting_queue import WaitingQueue
from vllm.messages import FinishedRequest, FinishReason, Int32Array, NewSlot, SampledLogprobs

__all__ = ["Counters", "SchedulerState"]


class Counters:
    """Counts since the start of the engine; meanings in `SchedulerStats`."""

    def __init__(self) -> None:
        self.preemptions = 0
        self.prefix_queries = 0
        self.prefix_hits = 0
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.failed_steps = 0
        self.inter_token_times = InterTokenTimes()


class SchedulerState:
    """Shared by the planner and the updater; both change it only through its methods and the slot table's arrays."""

    def __init__(self, limits: StepLimits, slots: SlotTable, kv: KVCacheManager, max_inflight_steps: int) -> None:
        self.limits = limits
        self.slots = slots
        self.kv = kv
        self.max_inflight_steps = max_inflight_steps
        self.waiting = WaitingQueue()
        self.queue_stands = False
        """The last planning left requests waiting: a free slot does not mean that the next one runs at once."""
        self.slot_of: dict[str, int] = {}
        """Request id → slot, of the requests that run."""
        self.prefilling: list[int] = []
        """Slots whose known tokens are not all computed, oldest first."""
        self.decoding_N: Int32Array = np.empty(0, np.int32)
        """The other running slots. Replaced, never changed in place: plans hold it."""
        self.leaving: dict[int, int] = {}
        """Slot of a request that has ended → the last step that may touch it."""
        self.inflight: deque[int] = deque()
        """Steps planned and not answered."""
        self.next_step = 0
        self.freed: list[int] = []
        """Slots to name in the next plan."""
        self.starts_anew = False
        """What earlier plans said counts no more, as the next one will say."""
        self.ended: list[FinishedRequest] = []
        """Ends not reported yet, with their log-probabilities."""
        self.ended_logprobs: list[tuple[str, SampledLogprobs]] = []
        self.uneven = False
        """Some row once yielded 0 or several tokens: from then on decode rows may have more than one token to compute."""
        self.num_grammar = 0
        self.num_inspected = 0
        self.num_gathering = 0
        self.counters = Counters()

    # -- in -------------------------------------------------------------------------------------------------------------------

    def admit(self, request: Request, hit: list[int]) -> NewSlot:
        """Give a request, already off the queue, a slot and blocks for all its known tokens; the hit blocks come first."""
        known, num_hit = request.num_known_tokens, len(hit) * self.kv.block_size
        if request.first_scheduled_time_s is None:
            request.first_scheduled_time_s = time.monotonic()
            request.num_cached_tokens = num_hit
            self._count_prompt(request, num_hit)
        slot = self.slots.take(request)
        self.slots.num_computed_S[slot] = num_hit
        self.slot_of[request.message.request_id] = slot
        self.prefilling.append(slot)
        self._count_flags(slot, 1)
        return _new_slot(slot, request, num_hit, self.kv.take(slot, known, hit, request.chain))

    def start_decoding(self, slots: list[int]) -> None:
        """The prompts of these slots are computed, or will be with the step in planning."""
        if slots:
            self.prefilling = _without(self.prefilling, slots)
            self.decoding_N = np.concatenate([self.decoding_N, np.array(slots, np.int32)])

    # -- out ------------------------------------------------------------------------------------------------------------------

    def preempt_last(self) -> None:
        """Take slot and blocks from the running request that is last in order; it goes back to the queue with its outputs.

        Never empties the engine: a request that runs alone always gets its block, because `add_request` refuses what does not
        fit the whole cache, and the others hold none while no step is in flight.
        """
        assert not self.inflight, "a request whose step is in flight must not lose its blocks"
        assert len(self.slot_of) > 1, "a request that runs alone lacks a block"
        slot = max(self.slot_of.values(), key=lambda candidate: self.slots.request(candidate).order)
        self._register_filled(slot)
        self._requeue(slot)

    def preempt_all(self) -> None:
        """Every running request goes back to the queue; what it has computed stays in the prefix cache."""
        assert not self.inflight, "a request whose step is in flight must not lose its blocks"
        for slot in list(self.slot_of.values()):
            self._register_filled(slot)
            self._requeue(slot)

    def requeue_all(self) -> None:
        """Nothing that runs counts any more: every running request goes back to the queue with its outputs, and no block is cached."""
        self.inflight.clear()
        for slot in list(self.leaving):
            del self.leaving[slot]
            self._release(slot)
        for slot in list(self.slot_of.values()):
            self._requeue(slot)
        self.kv.reset_prefix_cache()  # blocks are findable from their planning on, and these were never written
        self.starts_anew = True

    def _requeue(self, slot: int) -> None:
        request = self.slots.request(slot)
        self.slots.save_outputs(slot)
        request.num_preemptions += 1
        self.counters.preemptions += 1
        self._leave_running([slot])
        self._release(slot)
        self.waiting.push(request)

    def end(self, ends: list[tuple[int, FinishReason, int | None]]) -> None:
        """End running requests: (slot, reason, stop token that is not EOS)."""
        for slot, reason, stop_reason in ends:
            request = self.slots.request(slot)
            self.slots.save_outputs(slot)
            self._register_filled(slot)
            self.report(request, reason, stop_reason)
        slots = [slot for slot, _, _ in ends]
        self._leave_running(slots)
        for slot in slots:
            if self.inflight:
                self.leaving[slot] = self.inflight[-1]
            else:
                self._release(slot)

    def report(self, request: Request, reason: FinishReason, stop_reason: int | None = None) -> None:
        """Have the end of a request told with the next output."""
        self.ended.append(request.finished(reason, stop_reason))
        if request.logprobs:
            self.ended_logprobs.append((request.message.request_id, join(request.logprobs)))

    def release_answered(self, step: int) -> None:
        """Free the slots that were waiting for the answer to `step`."""
        for slot in [slot for slot, last_step in self.leaving.items() if last_step <= step]:
            del self.leaving[slot]
            self._release(slot)

    # -- inside ---------------------------------------------------------------------------------------------------------------

    def _leave_running(self, slots: list[int]) -> None:
        for slot in slots:
            del self.slot_of[self.slots.request(slot).message.request_id]
            self._count_flags(slot, -1)
        self.prefilling = _without(self.prefilling, slots)
        self.decoding_N = self.decoding_N[~np.isin(self.decoding_N, slots)]

    def _release(self, slot: int) -> None:
        self.kv.release(slot)
        self.slots.release(slot)
        self.freed.append(slot)

    def _register_filled(self, slot: int) -> None:
        written = min(self.slots.num_tokens_S[slot], self.slots.num_computed_S[slot])
        self.kv.register_filled(slot, self.slots.tokens_SL[slot, :written])

    def _count_flags(self, slot: int, change: int) -> None:
        self.num_grammar += change * bool(self.slots.grammar_S[slot])
        self.num_inspected += change * bool(self.slots.inspected_S[slot])
        self.num_gathering += change * bool(self.slots.gathers_logprobs_S[slot])

    def _count_prompt(self, request: Request, num_hit: int) -> None:
        self.counters.prompt_tokens += request.num_prompt_tokens
        if self.kv.hasher is not None and request.message.sampling.reads_prefix_cache:
            self.counters.prefix_queries += request.num_prompt_tokens
            self.counters.prefix_hits += num_hit


def _without(slots: list[int], gone: list[int]) -> list[int]:
    dropped = set(gone)
    return [slot for slot in slots if slot not in dropped]


def _new_slot(slot: int, request: Request, num_computed: int, block_ids: Int32Array) -> NewSlot:
    message = request.message
    return NewSlot(
        slot=slot,
        request_id=message.request_id,
        token_ids=request.known_token_ids,
        num_prompt_tokens=request.num_prompt_tokens,
        num_computed_tokens=num_computed,
        block_ids=block_ids,
        sampling=message.sampling,
        seed=message.seed,
        max_tokens=message.max_tokens,
        stop_token_ids=message.stop_token_ids,
        bad_words_token_ids=message.bad_words_token_ids,
        num_prompt_logprobs_done=request.num_prompt_logprobs_done,
    )
