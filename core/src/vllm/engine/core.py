"""Owns the engine core: scheduler + executor + grammars, advanced one step at a time. `EngineCore.step` tells the engine."""

from __future__ import annotations

import contextlib
import gc
import time
from collections import deque
from traceback import format_exception
from typing import TYPE_CHECKING, Any

from vllm.engine.grammar import GrammarManager
from vllm.engine.kv_sizing import size_kv_cache
from vllm.engine.scheduler.selection import create_scheduler
from vllm.errors import ConfigError, EngineDeadError, InvalidRequestError, OutOfMemoryError, StepFailedError, VllmError
from vllm.executor.selection import create_executor
from vllm.logger import init_logger
from vllm.messages import FinishReason
from vllm.platforms.capabilities import Feature, require
from vllm.platforms.selection import load_platform
from vllm.worker.worker_base import SLEEP_TAGS, WorkerBase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vllm.config import VllmConfig
    from vllm.engine.scheduler.interface import SchedulerInterface, SchedulerStats
    from vllm.executor.base import ExecutorBase, StepHandle
    from vllm.messages import EngineRequest, EngineStepOutput, Int32Array, StepPlan
    from vllm.sampling.structured_output import GrammarFactory, GrammarState
    from vllm.sampling_params import StructuredOutputsParams

__all__ = ["EngineCore"]

logger = init_logger(__name__)


class EngineCore:
    """One engine. Used from one thread, but for `compile_grammar`; `shutdown` must be called in the end (LLMEngine sees to it)."""

    def __init__(self, config: VllmConfig, grammar_factory: GrammarFactory | None) -> None:
        """Start the workers, size and allocate the KV cache, warm up."""
        start_s = time.perf_counter()
        self.config = config
        self.executor: ExecutorBase = create_executor(config)
        try:
            self.scheduler = self._start()
        except BaseException:
            self.executor.shutdown()
            raise
        self._grammars = GrammarManager(grammar_factory)
        self._in_flight: deque[tuple[StepPlan, StepHandle]] = deque()
        self._dead: BaseException | None = None
        self._told_traceback = ""
        self._asleep: frozenset[str] = frozenset()
        gc.collect()
        gc.freeze()  # what was built so far lives as long as the engine: no collection in mid-step walks through it
        logger.info(
            "init engine (profile, create kv cache, warmup model) took %.2f seconds", time.perf_counter() - start_s
        )

    def step(self) -> EngineStepOutput | None:
        """Plan and submit what may run, take the oldest result. None when there was nothing to do.

        Raises:
            EngineDeadError: a worker failed; all requests are lost and the engine must be built anew.
        """
        self._check_alive()
        try:
            self._fill_pipeline()
            if not self._in_flight:
                return self.drain_finished()
            plan, handle = self._in_flight.popleft()
            try:
                output = handle.result()
            except OutOfMemoryError as error:
                return self._retract(plan, error)
            except StepFailedError as error:
                return self._isolate(plan, error)
            failed = self._grammars.advance(plan, output, self.scheduler.request_of_slot)
            report = self.scheduler.update(plan, output)
            self.scheduler.abort_requests(failed, FinishReason.ERROR)
            return self._forget_finished(report)
        except BaseException as error:
            self._die(error)
            raise

    def add_request(self, request: EngineRequest, grammar: GrammarState | None = None) -> None:
        """Queue a request; raises InvalidRequestError, and the others go on. A grammar that it does not bring is compiled here."""
        self._check_alive()
        self._check_awake()
        self.scheduler.add_request(request)
        constraint = request.sampling.structured_outputs
        if constraint is not None:
            try:
                self._grammars.add(request.request_id, grammar or self._grammars.compile(constraint))
            except BaseException:
                self.scheduler.abort_requests([request.request_id], FinishReason.ABORT)
                raise

    def compile_grammar(self, constraint: StructuredOutputsParams) -> GrammarState:
        """For `add_request`. The one method that another thread may call, so that no step waits for a grammar."""
        return self._grammars.compile(constraint)

    def abort_requests(self, request_ids: Iterable[str], reason: FinishReason = FinishReason.ABORT) -> None:
        """End requests now; ids that are not alive are ignored."""
        self.scheduler.abort_requests(request_ids, reason)

    def drain_finished(self) -> EngineStepOutput | None:
        """Ends that no step has told yet; None if there are none."""
        output = self.scheduler.drain_finished()
        return None if output is None else self._forget_finished(output)

    def has_unfinished_requests(self) -> bool:
        """Whether another `step` has something to do or to report."""
        return self._dead is None and self.scheduler.has_unfinished_requests()

    def reset_prefix_cache(self) -> bool:
        """Forget cached blocks; False while requests run."""
        return self.scheduler.reset_prefix_cache()

    def sleep(self, level: int) -> None:
        """Free device memory; refused while requests run, and by a platform without sleep mode."""
        require_sleep_mode(self.config)
        if self._asleep:
            logger.warning("The engine sleeps already; wake_up() comes first.")
            return
        if self.scheduler.has_unfinished_requests():
            raise InvalidRequestError(
                "The engine cannot sleep while requests run.", remedy="abort them or wait for them"
            )
        self.scheduler.reset_prefix_cache()
        self.executor.call(WorkerBase.sleep, level)
        self._asleep = frozenset(SLEEP_TAGS)

    def wake_up(self, tags: tuple[str, ...]) -> None:
        """Undo `sleep` for the tags, or all."""
        require_sleep_mode(self.config)
        self.executor.call(WorkerBase.wake_up, tags)
        self._asleep -= frozenset(tags or SLEEP_TAGS)

    def is_sleeping(self) -> bool:
        """Whether weights or KV cache, or both, are away: no request is taken."""
        return bool(self._asleep)

    def collective_rpc(
        self,
        method: str | Callable[..., Any],
        timeout_s: float | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any] | None,
    ) -> list[Any]:
        """A worker's method (by name, or a function of the worker) on every rank; results in rank order."""
        return self.executor.collective_rpc(method, timeout_s, args, kwargs)

    def stats(self) -> SchedulerStats:
        """The scheduler's numbers."""
        return self.scheduler.stats()

    def shutdown(self) -> None:
        """Stop the workers; may be called twice."""
        self.executor.shutdown()
        gc.unfreeze()

    # -- inner ----------------------------------------------------------------------------------------------------------------

    def _start(self) -> SchedulerInterface:
        """Workers up, cache sized and allocated, shapes warm; returns the scheduler that knows the cache."""
        platform = load_platform(self.config.platform)
        self.executor.start_workers()
        available_bytes = self.executor.determine_available_memory()
        kv_cache_config, self.config = size_kv_cache(self.config, self.executor.kv_cache_groups(), available_bytes)
        self.executor.initialize_kv_cache(kv_cache_config)
        self.executor.warm_up()
        return create_scheduler(
            self.config,
            kv_cache_config,
            platform.scheduling_constraints(self.config),
            max_inflight_steps=self.executor.max_inflight_steps,
        )

    def _fill_pipeline(self) -> None:
        """Submit steps until the executor is full or the scheduler has none. Sampling starts with the masks computed meanwhile."""
        while len(self._in_flight) < self.executor.max_inflight_steps:
            plan = self.scheduler.schedule()
            if plan is None:
                return
            handle = self.executor.submit(plan)
            handle.sample(self._masks(plan))
            self._in_flight.append((plan, handle))

    def _masks(self, plan: StepPlan) -> Int32Array | None:
        if not len(plan.grammar_rows_G):
            return None
        request_ids = [self.scheduler.request_of_slot(int(slot)) for slot in plan.grammar_rows_G]
        return self._grammars.masks([request_id for request_id in request_ids if request_id is not None])

    def _retract(self, plan: StepPlan, error: OutOfMemoryError) -> EngineStepOutput | None:
        """Memory ran out: forget what is in flight and go on with smaller steps, where the workers can."""
        if not self.executor.survives_out_of_memory:
            raise error
        self._drop_in_flight()
        self.scheduler.retract(plan)
        logger.warning(
            "A step of %d tokens is undone; its requests run again in smaller steps. %s", plan.total_tokens, error
        )
        return self.drain_finished()

    def _isolate(self, plan: StepPlan, error: StepFailedError) -> EngineStepOutput | None:
        """A step raised, and nothing but the step is lost: have the scheduler find out which request it was."""
        self._drop_in_flight()
        self._tell_failure(plan, error)
        if not self.scheduler.isolate(plan):
            raise error
        return self.drain_finished()

    def _drop_in_flight(self) -> None:
        """The steps behind one that failed fail as well."""
        for _, handle in self._in_flight:
            with contextlib.suppress(OutOfMemoryError, StepFailedError):
                handle.result()
        self._in_flight.clear()

    def _tell_failure(self, plan: StepPlan, error: StepFailedError) -> None:
        """The traceback once: the same error comes again with every part of the requests that holds the culprit."""
        traceback = "".join(format_exception(error.__cause__))
        if traceback != self._told_traceback:
            logger.error("In step %d, of %d tokens: %s", plan.step, plan.total_tokens, error, exc_info=error.__cause__)
        self._told_traceback = traceback

    def _forget_finished(self, output: EngineStepOutput) -> EngineStepOutput:
        if output.finished:
            self._grammars.forget(finished.request_id for finished in output.finished)
        return output

    def _check_alive(self) -> None:
        if self._dead is not None:
            raise EngineDeadError(
                f"The engine has stopped after an error: {self._dead}",
                remedy="build a new engine; the first error, above in the log, says why this one stopped",
            ) from self._dead

    def _check_awake(self) -> None:
        if self._asleep:
            what = f"The engine sleeps ({' and '.join(sorted(self._asleep))}) and takes no requests."
            raise InvalidRequestError(what, remedy="call wake_up() first")

    def _die(self, error: BaseException) -> None:
        """A step failed half-way: scheduler and workers may disagree, so nothing can go on."""
        self._dead = error
        if isinstance(error, VllmError):
            logger.error("The engine stops: %s", error)
        self.executor.shutdown()


def require_sleep_mode(config: VllmConfig) -> None:
    """Raise ConfigError, with the platform's reason, where it has no sleep mode, or where nobody asked for it at the start."""
    platform = load_platform(config.platform)
    require(Feature.SLEEP_MODE, platform.capability(Feature.SLEEP_MODE), platform=platform.name, option="sleep")
    if not config.model_config.enable_sleep_mode:
        raise ConfigError(
            "This engine was built without sleep mode, which a device may have to prepare for.",
            remedy="build it with enable_sleep_mode=True (--enable-sleep-mode)",
        )
