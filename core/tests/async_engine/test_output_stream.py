"""A slow reader loses nothing and holds one output at most."""

from __future__ import annotations

import asyncio

import pytest

from vllm.engine.output_stream import OutputStream
from vllm.errors import EngineDeadError
from vllm.outputs import CompletionOutput, Logprob, RequestOutput
from vllm.sampling_params import RequestOutputKind


def delta(text: str, token: int, *, index: int = 0, reason: str | None = None) -> RequestOutput:
    output = CompletionOutput(index, text, [token], logprobs=[{token: Logprob(-1.0)}], finish_reason=reason)
    return RequestOutput("r", "p", [1], None, [output], finished=reason is not None)


def test_deltas_that_were_not_taken_are_merged_by_output() -> None:
    async def story() -> None:
        stream = OutputStream(RequestOutputKind.DELTA)
        stream.put(delta("a", 1))
        stream.put(delta("x", 7, index=1))
        stream.put(delta("b", 2, reason="stop"))
        merged = await stream.get()
        assert [(o.index, o.text, list(o.token_ids), o.finish_reason) for o in merged.outputs] == [
            (0, "ab", [1, 2], "stop"),
            (1, "x", [7], None),
        ]
        assert merged.outputs[0].logprobs == [{1: Logprob(-1.0)}, {2: Logprob(-1.0)}]
        assert merged.finished

    asyncio.run(story())


def test_a_cumulative_output_replaces_the_one_before() -> None:
    async def story() -> None:
        stream = OutputStream(RequestOutputKind.CUMULATIVE)
        stream.put(delta("a", 1))
        stream.put(delta("ab", 2))
        assert (await stream.get()).outputs[0].text == "ab"

    asyncio.run(story())


def test_an_error_comes_after_what_was_there() -> None:
    async def story() -> None:
        stream = OutputStream(RequestOutputKind.DELTA)
        stream.put(delta("a", 1))
        stream.fail(EngineDeadError("gone"))
        assert (await stream.get()).outputs[0].text == "a"
        with pytest.raises(EngineDeadError, match="gone"):
            await stream.get()

    asyncio.run(story())


def test_a_reader_that_waits_is_woken() -> None:
    async def story() -> None:
        stream = OutputStream(RequestOutputKind.DELTA)
        waiting = asyncio.create_task(stream.get())
        await asyncio.sleep(0)
        stream.put(delta("a", 1))
        assert (await asyncio.wait_for(waiting, 10)).outputs[0].text == "a"

    asyncio.run(story())
