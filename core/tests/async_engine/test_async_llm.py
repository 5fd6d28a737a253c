"""AsyncLLM: the same outputs as LLM, wherever the core runs; what ends early frees its blocks; a death is told to everybody."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from vllm import SamplingParams
from vllm.config.engine_args import EngineArgs
from vllm.engine.async_llm import AsyncLLM
from vllm.engine.core_client.in_process import ProcessClient
from vllm.engine.llm_engine import LLMEngine
from vllm.errors import DuplicateRequestError, EngineDeadError, InvalidRequestError, ModelLoadError, VllmError
from vllm.sampling_params import RequestOutputKind, StructuredOutputsParams

Story = Callable[[AsyncLLM], Coroutine[Any, Any, None]]
PROMPTS = ["Count: 17 18 19", "Count: 5 6 7", "JSON: name="]
ARGS: dict[str, Any] = {"max_num_seqs": 8, "num_gpu_blocks_override": 600}


def params(kind: RequestOutputKind = RequestOutputKind.DELTA, **more: Any) -> SamplingParams:
    return SamplingParams(**{"temperature": 0.0, "max_tokens": 12, "output_kind": kind, **more})


async def text_of(engine: AsyncLLM, prompt: str, given: SamplingParams, request_id: str) -> str:
    text = ""
    async for output in engine.generate(prompt, given, request_id):
        shown = output.outputs[0].text
        text = text + shown if given.output_kind is RequestOutputKind.DELTA else shown
    return text


@pytest.fixture(params=["1", "0"], ids=["process", "thread"], scope="module")
def run(request: pytest.FixtureRequest) -> Any:
    """Runs stories one after the other on one engine and one event loop."""
    with pytest.MonkeyPatch.context() as environment:  # the tests without this fixture run while it lives
        environment.setenv("VLLM_ENABLE_V1_MULTIPROCESSING", request.param)
        engine = AsyncLLM.from_engine_args(EngineArgs(**ARGS))
    with asyncio.Runner() as runner:
        yield lambda story: runner.run(story(engine))
        engine.shutdown()


@pytest.fixture(scope="module")
def expected() -> list[str]:
    """What the synchronous engine says."""
    engine = LLMEngine.from_engine_args(EngineArgs(**ARGS))
    for index, prompt in enumerate(PROMPTS):
        engine.add_request(str(index), prompt, params(RequestOutputKind.FINAL_ONLY))
    texts = {}
    while engine.has_unfinished_requests():
        texts |= {output.request_id: output.outputs[0].text for output in engine.step()}
    engine.shutdown()
    return [texts[str(index)] for index in range(len(PROMPTS))]


def test_every_kind_gives_the_synchronous_engines_text(run: Callable[[Story], None], expected: list[str]) -> None:
    async def story(engine: AsyncLLM) -> None:
        for kind in RequestOutputKind:
            texts = [text_of(engine, prompt, params(kind), f"{kind}{i}") for i, prompt in enumerate(PROMPTS)]
            assert await asyncio.gather(*texts) == expected
        assert engine.num_unfinished_requests == 0

    run(story)


def test_a_stop_string_and_a_grammar_end_streams(run: Callable[[Story], None]) -> None:
    async def story(engine: AsyncLLM) -> None:
        assert await text_of(engine, PROMPTS[0], params(stop=[" 22"]), "stop") == " 20 21"
        choice = params(structured_outputs=StructuredOutputsParams(choice=["yes", "no"]))
        assert await text_of(engine, PROMPTS[0], choice, "grammar") in ("yes", "no")

    run(story)


def test_leaving_early_aborts(run: Callable[[Story], None]) -> None:
    async def story(engine: AsyncLLM) -> None:
        outputs = engine.generate(PROMPTS[0], params(max_tokens=1500, ignore_eos=True), "left")
        await anext(outputs)
        await outputs.aclose()
        reading = asyncio.create_task(
            text_of(engine, PROMPTS[0], params(max_tokens=1500, ignore_eos=True), "cancelled")
        )
        while engine.num_unfinished_requests == 0:
            await asyncio.sleep(0)
        reading.cancel()
        await asyncio.gather(reading, return_exceptions=True)
        assert engine.num_unfinished_requests == 0
        while not await engine.reset_prefix_cache():  # refused while anything runs
            await asyncio.sleep(0.01)

    run(story)


def test_refusals_touch_nobody_else(run: Callable[[Story], None], expected: list[str]) -> None:
    async def story(engine: AsyncLLM) -> None:
        good = asyncio.create_task(text_of(engine, PROMPTS[0], params(), "same"))
        while engine.num_unfinished_requests == 0:
            await asyncio.sleep(0)
        with pytest.raises(DuplicateRequestError, match="same"):
            await text_of(engine, PROMPTS[1], params(), "same")
        with pytest.raises(InvalidRequestError, match="maximum context length"):
            await engine.add_request("long", [1] * 5000, params())
        with pytest.raises(InvalidRequestError):
            await engine.add_request("regex", "x", params(structured_outputs=StructuredOutputsParams(regex="(")))
        assert await good == expected[0]

    run(story)


def test_calls_reach_the_core_and_its_errors_come_back(run: Callable[[Story], None]) -> None:
    async def story(engine: AsyncLLM) -> None:
        assert await engine.reset_prefix_cache()
        assert len(await engine.collective_rpc("check_health")) == 1
        with pytest.raises(VllmError, match="no_such_method"):
            await engine.collective_rpc("no_such_method")
        await engine.check_health()

    run(story)


def test_a_killed_core_ends_every_stream_and_leaves_nothing() -> None:
    async def story() -> None:
        engine = AsyncLLM.from_engine_args(EngineArgs(**ARGS))
        assert isinstance(engine._client, ProcessClient)
        endless = params(max_tokens=1500, ignore_eos=True)
        readers = [asyncio.create_task(text_of(engine, PROMPTS[0], endless, str(i))) for i in range(4)]
        await (await engine.add_request("first", PROMPTS[0], endless)).get()
        os.kill(engine._client.pid, signal.SIGKILL)
        for error in await asyncio.wait_for(asyncio.gather(*readers, return_exceptions=True), 100):
            assert isinstance(error, EngineDeadError)
            assert "SIGKILL" in str(error)
        with pytest.raises(EngineDeadError):
            await engine.check_health()
        with pytest.raises(EngineDeadError):
            await engine.add_request("late", PROMPTS[0], endless)
        engine.shutdown()
        assert not Path(f"/proc/{engine._client.pid}").exists()

    asyncio.run(story())


def test_a_core_that_cannot_start_says_why(tmp_path: Path) -> None:
    config = EngineArgs(**ARGS, load_format="dummy").create_engine_config()
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises((ModelLoadError, VllmError)):
        AsyncLLM.from_engine_args(EngineArgs(model=str(tmp_path)))
    config.model_config.hf_config["num_attention_heads"] = 0  # passes the checks of the front: the core finds out
    with pytest.raises(Exception, match="EngineCore"):
        AsyncLLM(config)
