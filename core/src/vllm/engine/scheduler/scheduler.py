"""Owns the scheduler as the engine core sees it: requests come in, plans go out, results come back.

`schedule()` is the planner's, `update()` the updater's; both work on one `SchedulerState`.
"""

from __future__ import annotations

from collections.abc import Iterable

from vllm.config import VllmConfig
from vllm.engine.kv_cache.hashing import BlockHasher
from vllm.engine.kv_cache.manager import KVCacheManager
from vllm.engine.scheduler.admission import AdmissionRules
from vllm.engine.scheduler.interface import SchedulerInterface, SchedulerStats
from vllm.engine.scheduler.invariants import check_scheduler
from vllm.engine.scheduler.isolation import Isolation
from vllm.engine.scheduler.limits import StepLimits
from vllm.engine.scheduler.planner import StepPlanner
from vllm.engine.scheduler.request import Request
from vllm.engine.scheduler.slots import SlotTable
from vllm.engine.scheduler.state import SchedulerState
from vllm.engine.scheduler.updater import StepUpdater
from vllm.messages import EngineRequest, EngineStepOutput, FinishReason, StepOutput, StepPlan
from vllm.platforms.constraints import SchedulingConstraints
from vllm.worker.kv_cache_spec import KVCacheConfig

__all__ = ["Scheduler"]


class Scheduler(SchedulerInterface):
    """Continuous batching over a paged cache: chunked prefill, prefix caching, preemption by recompute, FCFS or priority.

    With `max_inflight_steps` 2, `schedule()` may be called again before `update()` of the step before: decode rows are then planned
    as if each gave one token that does not end its request.
    """

    def __init__(
        self,
        config: VllmConfig,
        kv_cache_config: KVCacheConfig,
        constraints: SchedulingConstraints,
        *,
        max_inflight_steps: int = 1,
    ) -> None:
        """Raises ConfigError where configuration and constraints permit no step."""
        block_size = kv_cache_config.block_size
        limits = StepLimits(config, constraints, block_size)
        cache = config.cache_config
        self._hasher = BlockHasher(cache.prefix_caching_hash_algo, block_size) if cache.enable_prefix_caching else None
        self._kv = KVCacheManager(
            num_slots=limits.max_seqs,
            max_model_len=limits.max_model_len,
            num_blocks=kv_cache_config.num_blocks,
            hasher=self._hasher,
            block_size=block_size,
        )
        self._slots = SlotTable(limits.max_seqs, limits.max_model_len)
        self._state = SchedulerState(limits, self._slots, self._kv, max_inflight_steps)
        watermark_blocks = int(cache.watermark * self._kv.pool.num_usable)
        self._planner = StepPlanner(self._state, watermark_blocks=watermark_blocks)
        self._updater = StepUpdater(self._state)
        self._isolation = Isolation(self._state)
        self._rules = AdmissionRules(self._state, config.scheduler_config)

    def add_request(self, request: EngineRequest) -> None:
        """Queue a request.

        Raises:
            DuplicateRequestError: its id is alive.
            InvalidRequestError: it can never run: empty, longer than the context, or larger than the whole KV cache.
            QueueFullError: `max_num_queued_reqs` requests or `max_num_queued_tokens` tokens wait already.
        """
        self._rules.check(request)
        queued = Request(message=request, order=self._rules.order(request))
        if self._hasher is not None:
            queued.chain.append(self._hasher.root(request.cache_salt))
        self._state.waiting.push(queued)

    def abort_requests(self, request_ids: Iterable[str], reason: FinishReason) -> None:
        """End requests now; unknown ids are ignored."""
        state, running = self._state, set()
        for request_id in request_ids:
            waiting = state.waiting.discard(request_id)
            if waiting is not None:
                state.report(waiting, reason)
            elif request_id in state.slot_of:
                running.add(state.slot_of[request_id])
        if running:
            state.end([(slot, reason, None) for slot in sorted(running)])

    def has_unfinished_requests(self) -> bool:
        """Whether a request waits, runs, or has ended unreported; also while a step is in flight, whose answer must be taken."""
        state = self._state
        return bool(state.slot_of or len(state.waiting) or state.ended or state.inflight)

    def schedule(self) -> StepPlan | None:
        """The next step, or None when nothing can run now."""
        if self._isolation.is_active:
            if self._state.inflight:
                return None
            self._isolation.settle()
        plan = self._planner.plan()
        if plan is not None or not self._state.inflight:
            self._state.queue_stands = bool(len(self._state.waiting))
        return plan

    def update(self, plan: StepPlan, output: StepOutput) -> EngineStepOutput:
        """Take the result of the oldest step in flight."""
        self._state.limits.note_step()
        self._isolation.note_step(gave_tokens=len(output.token_ids_M) > 0)
        return self._updater.apply(plan, output)

    def retract(self, plan: StepPlan) -> None:
        """No step in flight counts: memory ran out in the oldest. Its requests are computed anew, in smaller steps, or end."""
        state = self._state
        request_ids = [self.request_of_slot(slot) for slot in plan.slots_N.tolist()]
        state.requeue_all()
        if not state.limits.shrink(plan.total_tokens, has_prefill=plan.total_tokens > len(plan.slots_N)):
            self.abort_requests([each for each in request_ids if each is not None], FinishReason.ERROR)

    def isolate(self, plan: StepPlan) -> bool:
        """No step in flight counts: an error was raised in the oldest. See `Isolation`."""
        state = self._state
        ends_N = zip(plan.slots_N.tolist(), (plan.num_computed_N + plan.num_scheduled_N).tolist(), strict=True)
        rows = {self.request_of_slot(slot): tokens for slot, tokens in ends_N}
        state.requeue_all()
        state.counters.failed_steps += 1
        suspects = {each: tokens for each, tokens in rows.items() if each is not None}
        convicted = self._isolation.blame(suspects, some_left=len(suspects) < len(plan.slots_N))
        if convicted is not None:
            self.abort_requests([convicted], FinishReason.ERROR)
        return not self._isolation.is_hopeless

    def drain_finished(self) -> EngineStepOutput | None:
        """Ends that no step will carry; None if there are none."""
        return self._updater.reports() if self._state.ended else None

    def request_of_slot(self, slot: int) -> str | None:
        """The id of the request that runs in the slot; None if nobody does, or if it has ended and its last step is in flight."""
        request = self._slots.request_of[slot]
        if request is None or slot in self._state.leaving:
            return None
        return request.message.request_id

    def reset_prefix_cache(self) -> bool:
        """Forget all cached blocks; False while requests hold blocks."""
        return self._kv.reset_prefix_cache()

    def stats(self) -> SchedulerStats:
        """Current numbers."""
        state, counters = self._state, self._state.counters
        return SchedulerStats(
            num_running=len(state.slot_of),
            num_waiting=len(state.waiting),
            kv_cache_usage=self._kv.usage,
            num_preemptions=counters.preemptions,
            prefix_cache_queries=counters.prefix_queries,
            prefix_cache_hits=counters.prefix_hits,
            prompt_tokens=counters.prompt_tokens,
            generation_tokens=counters.generation_tokens,
            inter_token_counts=counters.inter_token_times.counts,
            inter_token_sum_s=counters.inter_token_times.sum_s,
            num_failed_steps=counters.failed_steps,
        )

    def check_invariants(self) -> None:
        """Raise AssertionError if blocks do not balance, a block is in two places, or counts disagree."""
        check_scheduler(self._state)
