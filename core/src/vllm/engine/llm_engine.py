"""Owns `LLMEngine`: the engine in this process, driven step by step. What `LLM`, the command line and users' own loops stand on."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, TypeVar

from vllm.engine.core import EngineCore
from vllm.engine.face import EngineFace
from vllm.engine.input_processor import InputProcessor
from vllm.engine.metrics import EngineMetrics
from vllm.engine.model_text import grammar_factory, load_model_tokenizer
from vllm.engine.output_processor import OutputProcessor
from vllm.engine.stat_loggers import load_stat_loggers
from vllm.errors import ConfigError
from vllm.executor.main_module import refuse_engine_of_rerun
from vllm.messages import FinishReason
from vllm.worker.worker_base import WorkerBase

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from vllm.config import VllmConfig
    from vllm.engine.output_processor import StepReport
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams

__all__ = ["LLMEngine"]

T = TypeVar("T")


class LLMEngine(EngineFace):
    """`add_request`, then `step` while `has_unfinished_requests`. Used from one thread.

    The workers are stopped by `shutdown`, at the latest when the engine is collected or the program ends.
    """

    def __init__(self, config: VllmConfig) -> None:
        """Load the tokenizer and start the engine; blocks until it can take requests."""
        refuse_engine_of_rerun()
        tokenizer = self.tokenizer = load_model_tokenizer(config)
        grammars = None if tokenizer is None else grammar_factory(config, lambda: tokenizer)
        log_stats = config.observability_config.log_stats
        stat_loggers = load_stat_loggers() if log_stats else {}  # before the weights: they may be broken
        self._core = EngineCore(config, grammars)
        self._finalizer = weakref.finalize(self, self._core.shutdown)
        self.config = config = self._core.config  # complete: the core has sized the cache
        self._inputs = InputProcessor(config, self.tokenizer, grammars)
        self._outputs = OutputProcessor(self.tokenizer, stream_interval_tokens=config.scheduler_config.stream_interval)
        self._metrics = EngineMetrics(config, stat_loggers) if log_stats else None

    # -- requests -------------------------------------------------------------------------------------------------------------

    def add_request(self, request_id: str, prompt: Any, params: SamplingParams, *, priority: int = 0) -> None:
        """Queue one request.

        Args:
            request_id: of the caller's choice, unlike every id that is alive.
            prompt: text, token ids, or a dict with `prompt` or `prompt_token_ids` and perhaps `cache_salt`.
            params: copied; changes after this call have no effect.
            priority: lower runs first, with `scheduling_policy="priority"`.

        Raises:
            InvalidRequestError: this request is unusable; the others are not touched.
        """
        request = self._inputs.process(request_id, prompt, params, priority=priority)
        self._outputs.add(request)
        try:
            for child in request.children:
                self._core.add_request(child)
        except BaseException:
            self._core.abort_requests(self._outputs.forget(request_id), FinishReason.ABORT)
            raise

    def step(self) -> list[RequestOutput]:
        """One engine step; gives what the requests' `output_kind` asks for. Aborted requests end without a word."""
        step = self._core.step()
        if step is None:
            return []
        report = self._outputs.process(step)
        reports = [report, *self._end_stopped(report.stopped_request_ids)]
        if self._metrics is not None:
            self._metrics.after_step(self._core.stats(), [parent for each in reports for parent in each.finished])
        return [output for each in reports for output in each.outputs]

    def abort_request(self, request_ids: str | Iterable[str]) -> None:
        """End requests; their blocks are free after the next step. Unknown ids are ignored."""
        self._abort([request_ids] if isinstance(request_ids, str) else list(request_ids))

    def has_unfinished_requests(self) -> bool:
        """Whether `step` has something to do."""
        return self._core.has_unfinished_requests()

    def has_request(self, request_id: str) -> bool:
        """Whether the id is taken: its request was added and has not ended."""
        return request_id in self._outputs

    def get_num_unfinished_requests(self) -> int:
        """Requests that were added and have not ended."""
        return len(self._outputs)

    # -- the engine -----------------------------------------------------------------------------------------------------------

    def reset_prefix_cache(self) -> bool:
        """Forget cached prompt blocks. False, and nothing happens, while requests run."""
        return self._core.reset_prefix_cache()

    def get_metrics(self) -> list[Any]:
        """A snapshot of the `vllm:` metrics.

        Raises:
            ConfigError: with `disable_log_stats` nothing is counted.
        """
        if self._metrics is None:
            raise ConfigError(
                "There are no metrics: this engine counts nothing.", remedy="start it with disable_log_stats=False"
            )
        return self._metrics.snapshot()

    def collective_rpc(
        self,
        method: str | Callable[..., Any],
        timeout: float | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> list[Any]:
        """Call a worker's method (by name, or a function of the worker) on every rank; results in rank order."""
        return self._core.executor.collective_rpc(method, timeout, args, kwargs)

    def apply_model(self, function: Callable[[Any], T]) -> list[T]:
        """`function(model)` on every rank; results in rank order."""
        return self._core.executor.call(WorkerBase.apply_model, function)

    def sleep(self, level: int = 1) -> None:
        """Free the device's memory until `wake_up`; only where the platform can."""
        self._core.sleep(level)

    def wake_up(self, tags: Iterable[str] | None = None) -> None:
        """Undo `sleep`."""
        self._core.wake_up(tuple(tags or ()))

    def is_sleeping(self) -> bool:
        """Whether weights or KV cache are away; requests are refused then."""
        return self._core.is_sleeping()

    def shutdown(self) -> None:
        """Stop the workers. Running requests are lost."""
        self._finalizer()

    def _end_stopped(self, engine_ids: list[str]) -> list[StepReport]:
        """Have the core end what a stop string ended, and take its word at once: the outputs' metrics are complete then."""
        if not engine_ids:
            return []
        self._core.abort_requests(engine_ids, FinishReason.STOP)
        ends = self._core.drain_finished()
        return [] if ends is None else [self._outputs.process(ends)]

    def _abort(self, request_ids: list[str]) -> None:
        self._core.abort_requests(self._outputs.abort(request_ids), FinishReason.ABORT)
