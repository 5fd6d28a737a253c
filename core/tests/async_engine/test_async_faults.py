"""AsyncLLM where its users, or its parts, go wrong: nobody waits for ever, nobody is touched by another's mistake, nothing stays behind."""

from __future__ import annotations

import asyncio
import multiprocessing
import time
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
import zmq

from vllm import SamplingParams
from vllm.config.engine_args import EngineArgs
from vllm.engine.async_llm import AsyncLLM
from vllm.engine.core import EngineCore
from vllm.engine.core_client.in_process import ProcessClient, _Ears
from vllm.engine.core_client.messages import FromCore, Returned
from vllm.engine.core_client.wire import encode
from vllm.engine.input_processor import InputProcessor
from vllm.engine.scheduler.scheduler import Scheduler
from vllm.errors import ConfigError, EngineDeadError, EngineShutdownError, InvalidRequestError
from vllm.messages import EngineRequest
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

if TYPE_CHECKING:
    from vllm.executor.child_process import ChildProcess

Story = Coroutine[Any, Any, Any]
ARGS: dict[str, Any] = {"max_num_seqs": 4, "num_gpu_blocks_override": 600}
PROMPT = "Count: 5 6 7"
PATIENCE_s = 60.0
"""Before a reader counts as forgotten."""


def params(**more: Any) -> SamplingParams:
    return SamplingParams(**{"temperature": 0.0, "max_tokens": 8, "output_kind": RequestOutputKind.DELTA, **more})


def endless() -> SamplingParams:
    return params(max_tokens=1500, ignore_eos=True)


async def read(engine: AsyncLLM, request_id: str, given: SamplingParams | None = None) -> tuple[str, str | None]:
    """(text, finish reason)"""
    text, reason = "", None
    async for output in engine.generate(PROMPT, given or params(), request_id):
        text, reason = text + output.outputs[0].text, output.outputs[0].finish_reason
    return text, reason


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_s):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture(scope="module")
def run() -> Iterator[Callable[[Callable[[AsyncLLM], Story]], Any]]:
    """Runs stories on one engine with a process of its own, each with a limit of time."""
    engine = AsyncLLM.from_engine_args(EngineArgs(**ARGS))
    with asyncio.Runner() as runner:
        yield lambda story: runner.run(asyncio.wait_for(story(engine), PATIENCE_s))
        engine.shutdown()


def test_an_id_used_again_before_its_first_output_was_read_is_another_request(run: Any) -> None:
    async def story(engine: AsyncLLM) -> None:
        first = engine.generate(PROMPT, params(), "again")
        await anext(first)
        await until(lambda: engine.num_unfinished_requests == 0)
        second = asyncio.create_task(read(engine, "again", params(max_tokens=100, ignore_eos=True)))
        await until(lambda: engine.num_unfinished_requests == 1)
        assert [output.finished async for output in first] == [True]
        assert (await second)[1] == "length"

    run(story)


def test_who_reads_a_request_that_another_task_aborts_gets_its_end(run: Any) -> None:
    async def story(engine: AsyncLLM) -> None:
        outputs = engine.generate(PROMPT, endless(), "aborted")
        await anext(outputs)
        await engine.abort("aborted")
        last = [output async for output in outputs][-1]
        assert last.finished
        assert last.outputs[0].finish_reason == "abort"
        assert engine.num_unfinished_requests == 0

    run(story)


@pytest.mark.parametrize(
    "wrong",
    [
        {"sampling_params": params(extra_args={"deep": object()})},
        {"sampling_params": params(extra_args={"deep": 1 << 70})},
        {"sampling_params": params(extra_args={"deep": "\ud800"})},
        {"priority": 1.5},
    ],
    ids=["object", "integer", "surrogate", "priority"],
)
def test_what_the_core_could_not_read_is_refused_and_nobody_else_is_touched(run: Any, wrong: dict[str, Any]) -> None:
    async def story(engine: AsyncLLM) -> None:
        expected = await read(engine, "fine")
        given = {"sampling_params": params(), "priority": 0} | wrong
        with pytest.raises(InvalidRequestError, match="cannot be sent"):
            await anext(engine.generate(PROMPT, request_id="wrong", **given))
        assert engine.num_unfinished_requests == 0
        assert await read(engine, "wrong") == expected

    run(story)


def fails_to_unpickle() -> None:
    raise LookupError("this class is unknown here")


class Unreadable:
    def __reduce__(self) -> Any:
        return fails_to_unpickle, ()


def give_unreadable(worker: object) -> object:
    return Unreadable()


def test_a_result_that_cannot_be_read_is_the_callers_error(run: Any) -> None:
    async def story(engine: AsyncLLM) -> None:
        with pytest.raises(LookupError, match="unknown here"):
            await engine.collective_rpc(give_unreadable)
        with pytest.raises(InvalidRequestError, match=r"(?s)lambda.*Remedy: use functions"):
            await engine.collective_rpc(lambda worker: 1)
        assert not len(engine._calls)
        assert await engine.reset_prefix_cache()

    run(story)


class PickyScheduler(Scheduler):
    """A plugin's scheduler with a mistake."""

    def add_request(self, request: EngineRequest) -> None:
        super().add_request(request)
        if len(request.prompt_token_ids) == 3:
            raise KeyError("three")


def test_an_unforeseen_error_at_a_requests_arrival_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", "0")

    async def story() -> None:
        engine = AsyncLLM.from_engine_args(EngineArgs(**ARGS, scheduler_cls=f"{__name__}.PickyScheduler"))
        try:
            other = asyncio.create_task(read(engine, "other", params(max_tokens=40, ignore_eos=True)))
            with pytest.raises(KeyError, match="three"):
                await anext(engine.generate([1, 2, 3], params(n=2, temperature=0.5), "picky"))
            assert (await other)[1] == "length"
            assert engine.num_unfinished_requests == 0
            assert await engine.reset_prefix_cache(), "somebody still holds blocks"
        finally:
            engine.shutdown()

    asyncio.run(asyncio.wait_for(story(), PATIENCE_s))


class BrokenMetrics:
    def after_step(self, *_: object) -> None:
        raise ZeroDivisionError("the front's own mistake")


def test_a_mistake_in_the_front_ends_its_readers_and_an_answer_after_the_end_is_let_go() -> None:
    async def story() -> None:
        engine = AsyncLLM.from_engine_args(EngineArgs(**ARGS))
        errors: list[dict[str, Any]] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
        await read(engine, "fine")
        engine.metrics = BrokenMetrics()  # type: ignore[assignment]
        with pytest.raises(EngineDeadError, match="own mistake"):
            await asyncio.wait_for(read(engine, "lost"), PATIENCE_s)
        assert engine.num_unfinished_requests == 0
        assert engine.errored
        engine.shutdown()

        # In the same task, before the loop turns: the new engine's descriptors have the numbers of the old one's.
        engine = AsyncLLM.from_engine_args(EngineArgs(**ARGS))
        await asyncio.wait_for(read(engine, "fine"), PATIENCE_s)
        call = asyncio.create_task(engine.reset_prefix_cache())
        await asyncio.sleep(0)
        engine.end_requests("It is late.")
        with pytest.raises(EngineShutdownError, match="late"):
            await call
        await asyncio.to_thread(lambda: engine._client._socket.poll(10_000))  # type: ignore[attr-defined]
        await asyncio.sleep(0)
        engine.shutdown()
        assert not errors

    asyncio.run(story())


class _SilentChild:
    """A process that neither ends nor speaks."""

    def __init__(self) -> None:
        self.connection, self.far_end = multiprocessing.Pipe()


def test_a_core_that_is_faster_than_its_front_leaves_the_loop_to_others() -> None:
    """Whenever a message is taken, the next one is there already."""
    taken = 0

    async def story() -> int:
        child = _SilentChild()
        with zmq.Context() as context, context.socket(zmq.PAIR) as here, context.socket(zmq.PAIR) as core:
            here.bind("inproc://core")
            core.connect("inproc://core")

            def receive(_message: FromCore) -> None:
                nonlocal taken
                taken += 1
                if taken < 1000:
                    core.send(encode(Returned(taken, b"", failed=False)))

            ears = _Ears(here, cast("ChildProcess", child), receive)
            core.send(encode(Returned(0, b"", failed=False)))
            ears.look_again()
            await until(lambda: taken > 0)
            at_first_turn = taken
            await until(lambda: taken == 1000)
            ears.close()
            return at_first_turn

    assert asyncio.run(story()) < 100


def test_an_engine_can_be_shut_down_from_another_thread_while_it_streams() -> None:
    async def story() -> None:
        engine = AsyncLLM.from_engine_args(EngineArgs(**ARGS))
        asyncio.get_running_loop().slow_callback_duration = PATIENCE_s
        outputs = [engine.generate(PROMPT, endless(), str(index)) for index in range(4)]
        for one in outputs:
            await anext(one)
        readers = [asyncio.create_task(read_on(one)) for one in outputs]
        call = asyncio.create_task(engine.wait_until_dead())
        await asyncio.sleep(0)
        await asyncio.to_thread(engine.shutdown)
        ends = await asyncio.wait_for(asyncio.gather(*readers, call, return_exceptions=True), PATIENCE_s)
        assert [type(end) for end in ends] == [EngineShutdownError] * 5

    asyncio.run(story(), debug=True)  # in debug mode asyncio raises where another thread touches it


async def read_on(outputs: Any) -> None:
    async for _ in outputs:
        pass


def test_a_core_is_not_begun_for_a_configuration_that_cannot_travel(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("VLLM_RPC_BASE_PATH", str(tmp_path))
    config = EngineArgs(**ARGS).create_engine_config()
    config.model_config.hf_config["unpicklable"] = lambda: None
    with pytest.raises(ConfigError, match="cannot be sent"):
        ProcessClient(config)
    assert not list(tmp_path.iterdir())


def test_a_core_that_is_still_starting_is_not_waited_for(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("VLLM_RPC_BASE_PATH", str(tmp_path))
    monkeypatch.setattr("vllm.engine.core_client.in_process.STOP_s", PATIENCE_s)
    client = ProcessClient(EngineArgs(**ARGS).create_engine_config())
    before_s = time.monotonic()
    client.close()
    assert time.monotonic() - before_s < PATIENCE_s / 2
    assert not Path(f"/proc/{client.pid}").exists()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("folder", ["missing", "x" * 100])
def test_a_folder_that_cannot_hold_the_socket_is_named(folder: str, tmp_path: Path, monkeypatch: Any) -> None:
    base = tmp_path / folder
    if folder != "missing":
        base.mkdir()
    monkeypatch.setenv("VLLM_RPC_BASE_PATH", str(base))
    with pytest.raises(ConfigError, match="VLLM_RPC_BASE_PATH") as caught:
        ProcessClient(EngineArgs(**ARGS).create_engine_config())
    assert str(base) in str(caught.value)
    assert not base.exists() or not list(base.iterdir())


def test_a_request_whose_grammar_the_core_refuses_is_not_queued() -> None:
    config = EngineArgs(**ARGS).create_engine_config()

    class Refusing:
        vocab_size = config.model_config.vocab_size

        def new_state(self, constraint: object) -> Any:
            raise InvalidRequestError("The grammar is too large.")

    core = EngineCore(config, Refusing())  # type: ignore[arg-type]
    try:
        (request,) = InputProcessor(core.config, None, None).process("r", [1, 2, 3], params(detokenize=False)).children
        request.sampling.structured_outputs = StructuredOutputsParams(choice=["yes"])
        with pytest.raises(InvalidRequestError, match="too large"):
            core.add_request(request)
        core.step()
        assert not core.has_unfinished_requests()
        assert core.scheduler.stats().generation_tokens == 0
    finally:
        core.shutdown()
