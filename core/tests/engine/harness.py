"""Drives a real Scheduler with the fake worker, keeps a number of steps in flight, and checks the laws after every call."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import numpy as np

from core.tests.engine.fake_model import FakeWorker, generate_alone
from vllm.config import CacheConfig, ModelConfig, SchedulerConfig, VllmConfig
from vllm.engine.scheduler.scheduler import Scheduler
from vllm.messages import (
    Delivery,
    EngineRequest,
    EngineStepOutput,
    FinishedRequest,
    FinishReason,
    StepOutput,
    StepPlan,
)
from vllm.platforms.constraints import SchedulingConstraints
from vllm.sampling_params import SamplingParams
from vllm.worker.kv_cache_spec import KVCacheConfig

EOS = 7


def make_config(max_model_len: int = 64, cache: dict[str, Any] | None = None, **scheduler: Any) -> VllmConfig:
    """A configuration of which only the scheduler's part matters."""
    scheduler = {"max_num_seqs": 4, "max_num_batched_tokens": 16, **scheduler}
    return VllmConfig(
        model_config=ModelConfig(model="m", served_model_name="m", tokenizer="m", max_model_len=max_model_len),
        cache_config=CacheConfig(**(cache or {})),
        scheduler_config=SchedulerConfig(**scheduler),
    )


def make_request(
    request_id: str,
    prompt: Sequence[int],
    max_tokens: int = 4,
    *,
    stop: tuple[int, ...] = (),
    eos: tuple[int, ...] = (),
    priority: int = 0,
    arrival_time_s: float = 0.0,
    cache_salt: str | None = None,
    delivery: Delivery = Delivery.EVERY_STEP,
    **sampling: Any,
) -> EngineRequest:
    """A request; further arguments go to its SamplingParams."""
    return EngineRequest(
        request_id=request_id,
        prompt_token_ids=np.array(prompt, np.int32),
        sampling=SamplingParams(max_tokens=max_tokens, **sampling),
        seed=0,
        max_tokens=max_tokens,
        stop_token_ids=(*eos, *stop),
        eos_token_ids=eos,
        priority=priority,
        arrival_time_s=arrival_time_s,
        cache_salt=cache_salt,
        delivery=delivery,
    )


class Harness:
    """One engine without a model. `plans` keeps every plan for a test to look at."""

    def __init__(
        self,
        *,
        num_blocks: int = 33,
        block_size: int = 4,
        depth: int = 1,
        uneven: bool = False,
        constraints: SchedulingConstraints | None = None,
        **config: Any,
    ) -> None:
        """`num_blocks` counts the null block."""
        self.config = make_config(**config)
        self.constraints = constraints or SchedulingConstraints()
        self.scheduler = Scheduler(
            self.config,
            KVCacheConfig(num_blocks=num_blocks, block_size=block_size, groups=()),
            self.constraints,
            max_inflight_steps=depth,
        )
        self.worker = FakeWorker(num_blocks, block_size)
        self.depth = depth
        self.uneven = uneven
        self.inflight: deque[tuple[StepPlan, StepOutput]] = deque()
        self.requests: dict[str, EngineRequest] = {}
        self.plans: list[StepPlan] = []
        self.streamed: dict[str, list[int]] = {}
        self.finished: dict[str, FinishedRequest] = {}
        self._prefill_end: dict[int, int] = {}
        """By slot: tokens known when the slot was taken."""

    def add(self, *args: Any, **kwargs: Any) -> EngineRequest:
        """Make a request and queue it; arguments as for `make_request`."""
        request = make_request(*args, **kwargs)
        self.scheduler.add_request(request)
        self.requests[request.request_id] = request
        self.scheduler.check_invariants()
        return request

    def abort(self, *request_ids: str) -> None:
        self.scheduler.abort_requests(request_ids, FinishReason.ABORT)
        self.scheduler.check_invariants()

    def plan(self) -> StepPlan | None:
        """Schedule and execute one step, without taking its result."""
        plan = self.scheduler.schedule()
        self.scheduler.check_invariants()
        if plan is not None:
            self._check_plan(plan)
            self.plans.append(plan)
            self.inflight.append((plan, self.worker.run(plan, self.uneven)))
        return plan

    def take(self) -> EngineStepOutput:
        """Take the oldest result in flight."""
        output = self.scheduler.update(*self.inflight.popleft())
        self.scheduler.check_invariants()
        self._collect(output)
        return output

    def step(self) -> EngineStepOutput | None:
        """What the engine core does: fill the pipeline, then take one result."""
        while len(self.inflight) < self.depth and self.plan() is not None:
            pass
        if self.inflight:
            return self.take()
        output = self.scheduler.drain_finished()
        if output is not None:
            self._collect(output)
        return output

    def run(self, most_steps: int = 2000) -> None:
        """Step until nothing is left; every step must get something done."""
        for _ in range(most_steps):
            if not self.scheduler.has_unfinished_requests():
                break
            assert self.step() is not None, "requests are left, and nothing can be done"
        assert not self.scheduler.has_unfinished_requests(), f"not done after {most_steps} steps"

    def check_against_alone(self) -> None:
        """Every request ended as it would have alone; an aborted or failed one got a beginning of that."""
        assert self.finished.keys() == self.requests.keys()
        for request_id, request in self.requests.items():
            outputs, reason, stop_reason = generate_alone(request)
            finished = self.finished[request_id]
            got = finished.output_token_ids.tolist()
            if finished.reason in (FinishReason.ABORT, FinishReason.ERROR):
                assert got == outputs[: len(got)], request_id
            else:
                assert (got, finished.reason, finished.stop_reason) == (outputs, reason, stop_reason), request_id
            if request.delivery is Delivery.EVERY_STEP:
                assert self.streamed.get(request_id, []) == got, request_id

    def slot_of(self, request_id: str) -> int:
        """The slot in which the request runs."""
        return next(slot for slot, name in self.worker.request_of.items() if name == request_id)

    def _collect(self, output: EngineStepOutput) -> None:
        if output.tokens is not None:
            tokens = iter(output.tokens.token_ids_M.tolist())
            for name, count in zip(output.tokens.request_ids, output.tokens.counts_R.tolist(), strict=True):
                assert count > 0
                assert name not in self.finished, f"{name} got tokens after its end"
                self.streamed.setdefault(name, []).extend(next(tokens) for _ in range(count))
            assert next(tokens, None) is None
        for finished in output.finished:
            assert finished.request_id not in self.finished, "an end was told twice"
            self.finished[finished.request_id] = finished

    def _check_plan(self, plan: StepPlan) -> None:
        """The configuration's and the platform's limits hold."""
        limits, constraints = self.config.scheduler_config, self.constraints
        assert plan.total_tokens == int(plan.num_scheduled_N.sum()) <= limits.max_num_batched_tokens
        assert len(plan.slots_N) <= limits.max_num_seqs
        is_prefill = self._prefill_rows(plan)
        if constraints.token_buckets and any(is_prefill):
            constraints.bucket_tokens(plan.total_tokens)  # asserts that it fits
        if constraints.decode_batch_buckets:
            constraints.bucket_rows(len(plan.slots_N))
        # A row that yielded nothing computes its last prompt token once more, as a decode.
        if not constraints.mixes_prefill_and_decode and not self.uneven:
            assert all(is_prefill) or not any(is_prefill), "prefill and decode rows in one step"
        if constraints.max_concurrent_prefills is not None:
            assert sum(is_prefill) <= constraints.max_concurrent_prefills

    def _prefill_rows(self, plan: StepPlan) -> list[bool]:
        self._prefill_end.update({new.slot: len(new.token_ids) for new in plan.new})
        return [
            computed < self._prefill_end[slot]
            for slot, computed in zip(plan.slots_N.tolist(), plan.num_computed_N.tolist(), strict=True)
        ]
