"""Owns `AsyncLLM`: the engine behind an event loop. What the HTTP server stands on.

The engine core runs in a process of its own. This side tokenises, checks, detokenises and hands out; it must keep up with the
core, so what comes while it works is taken together, and a stream that is overtaken gets several tokens at once.
"""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncGenerator, Callable, Iterable
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from vllm.engine.core import EngineCore
from vllm.engine.core_client.calls import CoreCalls
from vllm.engine.core_client.interface import CoreClient
from vllm.engine.core_client.messages import Abort, Add, Died, FromCore, Refused, Returned, Started, Stepped
from vllm.engine.core_client.start import start_core
from vllm.engine.face import EngineFace
from vllm.engine.grammar_check import GrammarCheck
from vllm.engine.input_processor import InputProcessor
from vllm.engine.metrics import EngineMetrics
from vllm.engine.model_text import load_model_tokenizer
from vllm.engine.on_loop import on_loop
from vllm.engine.output_processor import OutputProcessor
from vllm.engine.output_stream import OutputStream
from vllm.engine.stat_loggers import load_stat_loggers
from vllm.errors import EngineDeadError, EngineShutdownError, InvalidRequestError
from vllm.executor.remote_error import unpack_error, unpack_refusal
from vllm.logger import init_logger
from vllm.messages import FinishReason

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.engine.request_log import RequestLog
    from vllm.engine.tracing import RequestTracer
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams

__all__ = ["AsyncLLM", "AsyncLLMEngine"]

logger = init_logger(__name__)

P = ParamSpec("P")
T = TypeVar("T")
INLINE_CHARACTERS = 4096
"""Longer prompts are tokenised beside the event loop: about a millisecond of it."""
INLINE_IDS = 4096
"""More ids, of a prompt or of parameters, are looked through beside the event loop."""
INLINE_OUTPUTS = 64
"""More outputs of one request are made beside the event loop."""


class AsyncLLM(EngineFace):
    """`generate` from any number of tasks of one event loop. Stopped by `shutdown`, or at the program's end."""

    def __init__(self, config: VllmConfig, *, client: CoreClient | None = None) -> None:
        """Start the engine core, unless `client` brings one that is starting; blocks until it takes requests."""
        self._client = start_core(config) if client is None else client
        try:
            tokenizer = self.tokenizer = load_model_tokenizer(config)
            log_stats = config.observability_config.log_stats
            stat_loggers = load_stat_loggers() if log_stats else {}
            self.config = config = self._client.wait_until_ready()
        except BaseException:
            self._client.close()
            raise
        self._inputs = InputProcessor(config, tokenizer, None)
        self._grammar_check = GrammarCheck(config)
        self._outputs = OutputProcessor(tokenizer, stream_interval_tokens=config.scheduler_config.stream_interval)
        self.metrics = EngineMetrics(config, stat_loggers) if log_stats else None
        self._streams: dict[str, OutputStream] = {}
        self._calls = CoreCalls(self._client.description)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._dead: BaseException | None = None
        self._death = asyncio.Event()
        self.request_log: RequestLog | None = None
        """Who is told every accepted request; nobody unless somebody is put here."""
        self.request_tracer: RequestTracer | None = None
        """Who makes a span of every request; nobody unless somebody is put here."""

    @classmethod
    def from_vllm_config(cls, config: VllmConfig) -> AsyncLLM:
        """The engine of a configuration."""
        return cls(config)

    # -- requests -------------------------------------------------------------------------------------------------------------

    async def generate(
        self, prompt: Any, sampling_params: SamplingParams, request_id: str, *, priority: int = 0
    ) -> AsyncGenerator[RequestOutput, None]:
        """Outputs of one request as its `output_kind` says, until it has ended. Leaving early aborts it.

        Raises:
            InvalidRequestError: the request is unusable, raised at the first step of the iteration; the others are not touched.
            EngineDeadError: the engine stopped; so has every request.
        """
        stream = await self.add_request(request_id, prompt, sampling_params, priority=priority)
        finished = False
        try:
            while not finished:
                output = await stream.get()
                finished = output.finished
                yield output
        finally:
            if self._streams.get(request_id) is stream:  # the id may belong to a later request by now
                await self.abort(request_id)

    async def add_request(
        self, request_id: str, prompt: Any, params: SamplingParams, *, priority: int = 0
    ) -> OutputStream:
        """Check and queue one request; the caller reads the stream to its end, or aborts. `generate` does both."""
        self._listen()
        self._raise_if_dead()
        if _is_heavy(prompt, params):
            request = await asyncio.to_thread(self._inputs.process, request_id, prompt, params, priority=priority)
            self._raise_if_dead()
        else:
            request = self._inputs.process(request_id, prompt, params, priority=priority)
        if request.params.structured_outputs is not None:
            try:
                await self._grammar_check.check(request.params.structured_outputs)
            finally:
                self._raise_if_dead()  # the check ends with the engine
        if self.request_log is not None:
            self.request_log.received(request)
        self._outputs.add(request)
        try:
            self._client.send(Add(list(request.children)))
        except InvalidRequestError:
            self._outputs.forget(request_id)
            raise
        if self.request_tracer is not None:
            self.request_tracer.begin(request_id)
        stream = self._streams[request_id] = OutputStream(params.output_kind)
        return stream

    async def abort(self, request_ids: str | Iterable[str]) -> None:
        """End requests; their blocks are free after the step that runs. Who still reads one gets a last output, its finish_reason "abort".

        Unknown ids are ignored.
        """
        ids = [request_ids] if isinstance(request_ids, str) else list(request_ids)
        engine_ids, last_outputs = self._outputs.abort_telling(ids)
        for output in last_outputs:
            self._put(output)
        if engine_ids and self._dead is None:  # the client of a dead core may be closing, in another thread
            self._client.send(Abort(engine_ids, FinishReason.ABORT))

    @property
    def num_unfinished_requests(self) -> int:
        """Requests that were added and have not ended."""
        return len(self._outputs)

    # -- the engine -----------------------------------------------------------------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Whether the engine takes requests."""
        return self._dead is None

    @property
    def errored(self) -> bool:
        """Whether the engine has died."""
        return self._dead is not None

    @property
    def dead_error(self) -> BaseException:
        """Why it did."""
        return self._dead or EngineDeadError("The engine is alive.")

    async def check_health(self) -> None:
        """Raise EngineDeadError if the engine has died."""
        self._listen()
        self._raise_if_dead()

    async def wait_until_dead(self) -> BaseException:
        """Why the engine stopped, once it has; after `end_requests` and `shutdown` too."""
        self._listen()
        await self._death.wait()
        return self.dead_error

    async def collective_rpc(
        self,
        method: str | Callable[..., Any],
        timeout: float | None = None,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> list[Any]:
        """Call a worker's method (by name, or a function of the worker) on every rank; results in rank order."""
        return await self._call(EngineCore.collective_rpc, method, timeout, args, kwargs)

    async def reset_prefix_cache(self) -> bool:
        """Forget cached prompt blocks. False, and nothing happens, while requests run."""
        return await self._call(EngineCore.reset_prefix_cache)

    async def sleep(self, level: int = 1) -> None:
        """Free the device's memory until `wake_up`; only where the platform can."""
        await self._call(EngineCore.sleep, level)

    async def is_sleeping(self) -> bool:
        """Whether weights or KV cache are away."""
        return await self._call(EngineCore.is_sleeping)

    async def wake_up(self, tags: Iterable[str] | None = None) -> None:
        """Undo `sleep`."""
        await self._call(EngineCore.wake_up, tuple(tags or ()))

    def end_requests(self, why: str) -> None:
        """Take no request any more, and end those that run with EngineShutdownError. From any thread; `shutdown` comes next."""

        def end() -> None:
            if self._dead is None:
                self._end_all(EngineShutdownError(why))

        on_loop(self._loop, end)

    def shutdown(self) -> None:
        """Stop the engine core and wait for its end; requests that run end with EngineShutdownError. From any thread, twice too."""
        self.end_requests("The engine was shut down.")
        self._grammar_check.close()
        self._client.close()
        if self.request_tracer is not None:
            self.request_tracer.close()

    # -- inner ----------------------------------------------------------------------------------------------------------------

    def _listen(self) -> None:
        """Receive on the event loop of the first caller."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            self._client.listen(self._receive)

    async def _call(self, method: Callable[Concatenate[EngineCore, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """`EngineCore.method` where the core lives, between two of its steps."""
        self._listen()
        self._raise_if_dead()
        call, answer = self._calls.begin(method, *args, **kwargs)
        self._client.send(call)
        return await answer

    def _receive(self, message: FromCore) -> None:
        """Nothing of a message that fails here is told, so nobody must go on waiting for it."""
        if self._dead is not None:
            return  # what a core still says after its end, or after `end_requests`, has no reader
        try:
            self._take(message)
        except Exception as error:
            logger.exception("The engine stops: what its core said cannot be handled")
            self._end_all(error)

    def _take(self, message: FromCore) -> None:
        match message:
            case Stepped():
                self._take_step(message)
            case Refused():
                self._take_refusal(message)
            case Returned():
                self._calls.take(message)
            case Died():
                self._end_all(unpack_error(pickle.loads(message.error), self._client.description))
                logger.error("The engine has stopped: %s", self._dead)
            case Started():
                raise AssertionError("the core starts once")

    def _take_step(self, message: Stepped) -> None:
        finished = []
        if message.output is not None:
            report = self._outputs.process(message.output)
            finished = report.finished
            if report.stopped_request_ids:
                self._client.send(Abort(report.stopped_request_ids, FinishReason.STOP))
            for output in report.outputs:
                self._put(output)
        if self.metrics is not None:
            self.metrics.after_step(message.stats, finished)
        if self.request_tracer is not None:
            for request in finished:
                self.request_tracer.end(request)

    def _put(self, output: RequestOutput) -> None:
        stream = self._streams.get(output.request_id)
        if stream is not None:
            stream.put(output)
            if output.finished:
                del self._streams[output.request_id]

    def _take_refusal(self, message: Refused) -> None:
        """The core refused what passed our checks; its reader gets the reason."""
        error = unpack_refusal(pickle.loads(message.error), self._client.description)
        for request_id in self._outputs.refuse(message.request_ids):
            if self.request_tracer is not None:
                self.request_tracer.forget(request_id)
            stream = self._streams.pop(request_id, None)
            if stream is not None:
                stream.fail(error)

    def _end_all(self, error: BaseException) -> None:
        """The engine is gone: everybody who waits is told."""
        self._dead = error
        self._death.set()
        for stream in self._streams.values():
            stream.fail(self._death_for_reader())
        self._calls.fail(self._death_for_reader)
        self._outputs.abort(list(self._streams))
        self._streams.clear()

    def _death_for_reader(self) -> EngineDeadError:
        """A new error for each reader: one object raised in many tasks would collect all their tracebacks."""
        if isinstance(self._dead, EngineShutdownError):
            return EngineShutdownError(self._dead.what)
        dead = EngineDeadError(
            f"The engine has stopped: {self._dead}",
            remedy="the first error in the log says why; start the engine again",
        )
        dead.__cause__ = self._dead
        return dead

    def _raise_if_dead(self) -> None:
        if self._dead is not None:
            raise self._death_for_reader()


AsyncLLMEngine = AsyncLLM
"""The same under the older of vLLM's names."""


def _is_heavy(prompt: Any, params: SamplingParams) -> bool:
    """Whether checking the request would hold up the event loop: long text or many ids, a schema to walk through, many outputs."""
    if params.structured_outputs is not None or params.n > INLINE_OUTPUTS or _many_entries(params):
        return True
    text, ids = (prompt.get("prompt"), prompt.get("prompt_token_ids")) if isinstance(prompt, dict) else (prompt, prompt)
    return (isinstance(text, str) and len(text) > INLINE_CHARACTERS) or (
        isinstance(ids, list) and len(ids) > INLINE_IDS
    )


def _many_entries(params: SamplingParams) -> bool:
    fields = (params.stop_token_ids, params.logit_bias, params.allowed_token_ids, params.bad_words, params.stop)
    return any(field is not None and len(field) > INLINE_IDS for field in fields)
