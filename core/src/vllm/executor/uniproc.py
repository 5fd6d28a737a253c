"""The executor for one worker in the engine's own process. With asynchronous scheduling the worker has a thread of its own.

Without it everything runs on the caller's thread: `submit` runs the forward, `result` samples.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from vllm.errors import ConfigError, EngineDeadError, OutOfMemoryError, StepFailedError
from vllm.executor.base import ExecutorBase, StepHandle
from vllm.executor.rpc import rpc_timeout, worker_function
from vllm.executor.steps import Failure, check_mask
from vllm.executor.worker_factory import create_worker
from vllm.worker.worker_base import WorkerBase

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.messages import Int32Array, StepOutput, StepPlan

__all__ = ["UniProcExecutor"]

P = ParamSpec("P")
T = TypeVar("T")


class UniProcExecutor(ExecutorBase):
    """One rank, no process, no copies: plans and results are handed over as they are."""

    def __init__(self, config: VllmConfig) -> None:
        super().__init__(config)
        if config.parallel_config.world_size != 1:
            raise ConfigError(
                f"The executor 'uni' runs one worker, but the configuration asks for {config.parallel_config.world_size}.",
                remedy="distributed_executor_backend='mp'",
            )
        self._failure = Failure()
        self._thread = ThreadPoolExecutor(1, "VllmWorker") if config.scheduler_config.async_scheduling else None
        self._worker = self._run(lambda: create_worker(config, rank=0, local_rank=0, init_method="")).result()
        thread_id = self._run(threading.get_ident).result()
        self._close = weakref.finalize(self, _close, self._worker, self._thread, thread_id)

    @property
    def max_inflight_steps(self) -> int:
        return 1 if self._thread is None else 2

    @property
    def survives_out_of_memory(self) -> bool:
        return True

    def call(self, method: Callable[Concatenate[WorkerBase, P], T], *args: P.args, **kwargs: P.kwargs) -> list[T]:
        self._failure.check()
        return [self._run(lambda: method(self._worker, *args, **kwargs)).result()]

    def collective_rpc(
        self,
        method: str | Callable[..., Any],
        timeout_s: float | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> list[Any]:
        """`timeout_s` has no effect without a worker thread."""
        self._failure.check()
        function = worker_function(self._worker, method)
        future = self._run(lambda: function(*args, **(kwargs or {})))
        if timeout_s is not None and not wait([future], timeout_s).done:
            raise rpc_timeout(method, timeout_s, "the worker")
        return [future.result()]

    def submit(self, plan: StepPlan) -> StepHandle:
        self._failure.check()
        executed = self._run(lambda: self._step(lambda: self._worker.execute(plan)))
        return (_InlineStep if self._thread is None else _QueuedStep)(self, plan, executed)

    def run_sampling(self, executed: Future[None], grammar_mask_GW: Int32Array | None) -> Future[StepOutput]:
        """The second half of a step; it is skipped, with the first half's error, where that failed."""

        def sample() -> StepOutput:
            executed.result()
            return self._step(lambda: self._worker.sample(grammar_mask_GW))

        return self._run(sample)

    def check_health(self) -> None:
        self.call(WorkerBase.check_health)

    def shutdown(self) -> None:
        self._failure.record(EngineDeadError("The executor was shut down."))
        self._close()

    def _step(self, part: Callable[[], T]) -> T:
        """Run a part of a step. After an error the worker's state is unknown, so that no further step may run.

        Memory that ran out, and a step that failed alone, are the exception: the caller's next plan starts anew.
        """
        self._failure.check()
        try:
            return part()
        except (OutOfMemoryError, StepFailedError):
            raise
        except Exception as error:
            self._failure.record(error)
            raise

    def _run(self, function: Callable[[], T]) -> Future[T]:
        """On the worker's thread, or at once on this one; either way an error waits in the future."""
        if self._thread is not None:
            return self._thread.submit(function)
        future: Future[T] = Future()
        try:
            future.set_result(function())
        except Exception as error:  # noqa: BLE001 - kept, not swallowed: the future raises it
            future.set_exception(error)
        return future


class _Step(StepHandle):
    """What both kinds of step know."""

    def __init__(self, executor: UniProcExecutor, plan: StepPlan, executed: Future[None]) -> None:
        self._executor, self._plan, self._executed = executor, plan, executed


class _InlineStep(_Step):
    """Samples when the result is asked for: nothing can overlap on one thread, and `sample` must not block."""

    _mask_GW: Int32Array | None = None

    def sample(self, grammar_mask_GW: Int32Array | None = None) -> None:
        check_mask(self._plan, grammar_mask_GW)
        self._mask_GW = grammar_mask_GW

    def result(self) -> StepOutput:
        return self._executor.run_sampling(self._executed, self._mask_GW).result()


class _QueuedStep(_Step):
    """Samples on the worker's thread as soon as the forward is done."""

    _sampled: Future[StepOutput]

    def sample(self, grammar_mask_GW: Int32Array | None = None) -> None:
        check_mask(self._plan, grammar_mask_GW)
        self._sampled = self._executor.run_sampling(self._executed, grammar_mask_GW)

    def result(self) -> StepOutput:
        return self._sampled.result()


def _close(worker: WorkerBase, thread: ThreadPoolExecutor | None, thread_id: int) -> None:
    """Let the queued work end, then free the device. A garbage collection may bring the worker's own thread here."""
    if thread is not None:
        thread.shutdown(wait=threading.get_ident() != thread_id)
    worker.shutdown()
