"""Outputs cut into parts: any way in which they arrive gives the same parts as the whole, each begun, grown and ended in order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Iterable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.tests.serving.in_process import Served
from vllm.entrypoints.anthropic.errors import error_event
from vllm.entrypoints.openai.chat_tools import OutputReaders
from vllm.entrypoints.openai.output_parts import Part, PartBegun, PartEnded, PartGrown, PartStream, Step, parts_of
from vllm.entrypoints.openai.parsers_interface import ParserContext
from vllm.entrypoints.openai.reasoning import ReasoningParserManager
from vllm.entrypoints.openai.streaming import StreamEnd, answer_unless_gone, begun
from vllm.entrypoints.openai.tools import ToolParserManager
from vllm.errors import EngineDeadError
from vllm.outputs import CompletionOutput

CALL = '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
TEXTS = [
    "Yes",
    "",
    " \n",
    "<think>Hm</think>\n\nYes",
    "<think>Hm</think>\n\n",
    f"<think>Hm</think>Let me see {CALL}",
    f"<think>a</think>{CALL}\n{CALL}",
    f"<think>a</think>b{CALL}c",
]


def readers() -> OutputReaders:
    context = ParserContext()
    return OutputReaders(
        reasoning=ReasoningParserManager.get("deepseek_r1")(context), tools=ToolParserManager.get("hermes")(context)
    )


def output(text: str, reason: str | None = "stop") -> CompletionOutput:
    return CompletionOutput(index=0, text=text, token_ids=(), finish_reason=reason)


def told(parts: Iterable[Part]) -> dict[str, list[str]]:
    """What was thought and said in all, and each call."""
    found: dict[str, list[str]] = {"reasoning": [""], "text": [""], "call": []}
    for part in parts:
        if part.kind == "call":
            found["call"].append(f"{part.name}({part.text})")
        else:
            found[part.kind][0] += part.text
    return found


def steps_of(pieces: list[str]) -> tuple[list[Step], PartStream]:
    stream = PartStream(readers(), parallel_calls=True)
    steps = [step for piece in pieces for step in stream.feed(output(piece, None))]
    return [*steps, *stream.feed(output(""))], stream


@settings(max_examples=30, deadline=None)
@pytest.mark.parametrize("text", TEXTS)
@given(places=st.lists(st.integers(0, 200), max_size=12))
def test_any_cut_gives_the_parts_of_the_whole(text: str, places: list[int]) -> None:
    ends = [0, *sorted({place % (len(text) + 1) for place in places}), len(text)]
    steps, stream = steps_of([text[start:end] for start, end in pairwise(ends)])
    assert told(stream.parts) == told(parts_of(output(text), readers(), parallel_calls=True))
    assert [part.index for part in stream.parts] == list(range(len(stream.parts)))
    _check_order(steps, stream.parts)


def _check_order(steps: list[Step], parts: list[Part]) -> None:
    """Begun, grown, ended, one part after the other; and what grew is all of it."""
    grown: list[list[str]] = []
    is_open = False
    for step in steps:
        assert isinstance(step, PartBegun) is not is_open
        if isinstance(step, PartBegun):
            grown.append([])
        elif isinstance(step, PartGrown):
            grown[-1].append(step.text)
        is_open = not isinstance(step, PartEnded)
        assert step.part is parts[len(grown) - 1]
    assert not is_open
    assert ["".join(pieces) for pieces in grown] == [part.text for part in parts]


def test_by_hand() -> None:
    (thought, said, call) = parts_of(output(TEXTS[5]), readers(), parallel_calls=True)
    assert (thought.kind, thought.text) == ("reasoning", "Hm")
    assert (said.kind, said.text.strip()) == ("text", "Let me see")
    assert (call.kind, call.name, json.loads(call.text), call.index) == ("call", "f", {"a": 1}, 2)


def test_a_stream_that_fails_ends_in_the_apis_own_way() -> None:
    async def events() -> AsyncGenerator[bytes, None]:
        yield b"event: first\ndata: {}\n\n"
        raise EngineDeadError("The engine has died.")

    async def receive() -> Any:
        return await asyncio.Event().wait()

    async def story() -> bytes:
        sent = bytearray()

        async def send(message: Any) -> None:
            sent.extend(message.get("body", b""))

        answer = await answer_unless_gone(receive, begun(events(), StreamEnd(done=b"", error=error_event)))
        await answer({"type": "http", "path": "/"}, receive, send)
        return bytes(sent)

    first, last, rest = asyncio.run(story()).decode().split("\n\n")
    assert (first, rest) == ("event: first\ndata: {}", "")
    name, data = last.split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: "))["error"]["type"] == "api_error"


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/responses", {"input": "Hello"}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 400}),
    ],
)
def test_a_client_that_goes_takes_its_request_along(
    inside: Served, path: str, body: dict[str, Any], stream: bool
) -> None:
    inside.run(inside.leave_after_first_event(path, body | {"ignore_eos": True, "stream": stream}))
    assert inside.engine.num_unfinished_requests == 0
