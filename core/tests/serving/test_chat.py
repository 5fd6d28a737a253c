"""/v1/chat/completions through the openai client: answers, streams, tools, reasoning, forms."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, ConfigDict

from core.tests.serving.in_process import Served
from vllm.entrypoints.openai.parsers_interface import (
    ContentDelta,
    ReasoningDelta,
    ReasoningParser,
    ReasoningStream,
    ToolCallDelta,
    ToolParser,
    ToolStream,
)
from vllm.entrypoints.openai.reasoning import register_reasoning_parser
from vllm.entrypoints.openai.tools import register_tool_parser

ASKED: list[Any] = [{"role": "user", "content": "JSON: name=Ann age=36 ok=True"}]
SAID = '{"name": "delete", "age": 33, "ok": true}'
"""What the tiny model makes of ASKED."""
TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": "person",
            "parameters": {
                "type": "object",
                "properties": {"name": {"type": "string", "maxLength": 8}, "ok": {"type": "boolean"}},
                "required": ["name", "ok"],
                "additionalProperties": False,
            },
        },
    }
]
NAMED: Any = {"type": "function", "function": {"name": "person"}}


class ObjectIsCall(ToolParser):
    """Whatever the model says is a call of `person`: the tiny model always answers with an object."""

    def stream(self) -> ToolStream:
        return _ObjectIsCall()


class _ObjectIsCall(ToolStream):
    begun = False

    def feed(self, text: str, token_ids: Any = ()) -> list[ContentDelta | ToolCallDelta]:
        if not text:
            return []
        head: Any = {} if self.begun else {"id": "call_1", "name": "person"}
        self.begun = True
        return [ToolCallDelta(index=0, arguments=text, **head)]

    def finish(self) -> list[ContentDelta | ToolCallDelta]:
        return []


class CommaEndsReasoning(ReasoningParser):
    """Reasoning goes up to the first comma."""

    def stream(self) -> ReasoningStream:
        return _CommaEndsReasoning()


class _CommaEndsReasoning(ReasoningStream):
    reasons = True

    def feed(self, text: str, token_ids: Any = ()) -> list[ReasoningDelta | ContentDelta]:
        if not self.reasons:
            return [ContentDelta(text)]
        before, comma, after = text.partition(",")
        self.reasons = not comma
        return [ReasoningDelta(before), *([ContentDelta(after)] if after else [])]

    def finish(self) -> list[ReasoningDelta | ContentDelta]:
        return []


@pytest.fixture
def server(inside: Served) -> Served:
    return inside


@pytest.fixture
def with_tools(inside: Served) -> Served:
    register_tool_parser("object_is_call", ObjectIsCall)
    return inside.with_args(enable_auto_tool_choice=True, tool_call_parser="object_is_call")


@pytest.fixture
def with_reasoning(inside: Served) -> Served:
    register_reasoning_parser("comma", CommaEndsReasoning)
    return inside.with_args(reasoning_parser="comma")


def chat(server: Served, **body: Any) -> Any:
    given: dict[str, Any] = {"model": "tiny", "messages": ASKED, "temperature": 0} | body
    return server.run(server.openai.chat.completions.create(**given))


def chunks_of(server: Served, **body: Any) -> list[Any]:
    async def story() -> list[Any]:
        given: dict[str, Any] = {"model": "tiny", "messages": ASKED, "temperature": 0, "stream": True} | body
        return [chunk async for chunk in await server.openai.chat.completions.create(**given)]

    chunks: list[Any] = server.run(story())
    return chunks


def joined(chunks: list[Any]) -> dict[str, Any]:
    """The message and its end, of output 0."""
    message: dict[str, Any] = {"content": "", "reasoning": "", "calls": {}, "finish_reason": None}
    for choice in (choice for chunk in chunks for choice in chunk.choices if choice.index == 0):
        message["content"] += choice.delta.content or ""
        message["reasoning"] += getattr(choice.delta, "reasoning", None) or ""
        message["finish_reason"] = choice.finish_reason or message["finish_reason"]
        for call in choice.delta.tool_calls or []:
            known = message["calls"].setdefault(call.index, {"name": "", "arguments": "", "id": call.id})
            known["name"] += call.function.name or ""
            known["arguments"] += call.function.arguments or ""
    return message


def test_an_answer(server: Served) -> None:
    answer = chat(server)
    (choice,) = answer.choices
    assert (choice.message.role, choice.message.content, choice.finish_reason) == ("assistant", SAID, "stop")
    assert (answer.object, answer.model, answer.id[:9]) == ("chat.completion", "tiny", "chatcmpl-")
    assert (choice.message.tool_calls, choice.message.reasoning) == ([], None)
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_a_stream_says_who_speaks_and_then_the_same(server: Served) -> None:
    whole = chat(server, logprobs=True, top_logprobs=2)
    chunks = chunks_of(server, logprobs=True, top_logprobs=2, stream_options={"include_usage": True})
    assert (chunks[0].choices[0].delta.role, chunks[0].choices[0].delta.content) == ("assistant", "")
    assert [chunk.choices[0].delta.role for chunk in chunks[1:-1]] == [None] * (len(chunks) - 2)
    assert joined(chunks)["content"] == SAID
    assert joined(chunks)["finish_reason"] == "stop"
    assert (chunks[-1].usage, chunks[-1].choices) == (whole.usage, [])
    logprobs = [
        each for chunk in chunks[:-1] if chunk.choices[0].logprobs for each in chunk.choices[0].logprobs.content
    ]
    assert logprobs == whole.choices[0].logprobs.content


def test_logprobs(server: Served) -> None:
    choice = chat(server, logprobs=True, top_logprobs=3).choices[0]
    tokens = choice.logprobs.content
    assert b"".join(bytes(token.bytes) for token in tokens).decode().startswith(choice.message.content)
    for token in tokens:
        values = [each.logprob for each in token.top_logprobs]
        assert len(values) == 3
        assert values == sorted(values, reverse=True)
        assert token.top_logprobs[0].token == token.token  # greedy
    assert not chat(server, logprobs=True).choices[0].logprobs.content[0].top_logprobs


def test_several_outputs(server: Served) -> None:
    body: dict[str, Any] = {"n": 3, "temperature": 1.5, "seed": 5}
    whole = chat(server, **body)
    texts: dict[int, str] = {}
    for choice in (choice for chunk in chunks_of(server, **body) for choice in chunk.choices):
        texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
    assert texts == {choice.index: choice.message.content for choice in whole.choices}
    assert set(texts) == {0, 1, 2}


def test_max_completion_tokens_wins(server: Served) -> None:
    answer = chat(server, max_tokens=9, max_completion_tokens=4)
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (4, "length")


def test_parts_of_text_are_text(server: Served) -> None:
    parts = [{"role": "user", "content": [{"type": "text", "text": ASKED[0]["content"]}]}]
    assert chat(server, messages=parts).choices[0].message.content == SAID


def test_the_last_message_is_continued(server: Served) -> None:
    messages = [*ASKED, {"role": "assistant", "content": SAID[:10]}]
    body = {"continue_final_message": True, "add_generation_prompt": False}
    assert chat(server, messages=messages, extra_body=body).choices[0].message.content == SAID[10:]
    echoed = chat(server, messages=messages, extra_body=body | {"echo": True}).choices[0].message.content
    assert echoed == SAID
    assert joined(chunks_of(server, messages=messages, extra_body=body | {"echo": True}))["content"] == SAID


def test_a_trusted_template_and_its_variables(server: Served) -> None:
    trusting = server.with_args(trust_request_chat_template=True, default_chat_template_kwargs={"a": "one", "b": "two"})
    body = {
        "chat_template": "{{ a }} {{ b }} {{ c }}",
        "chat_template_kwargs": {"b": "2", "c": "three"},
        "return_token_ids": True,
    }
    answer = trusting.post("/v1/chat/completions", {"messages": ASKED, "max_tokens": 1, **body}).json()
    assert server.engine.get_tokenizer().decode(answer["prompt_token_ids"]).strip() == "one 2 three"
    assert len(answer["choices"][0]["token_ids"]) == 1


def test_parse_with_pydantic(server: Served) -> None:
    class Person(BaseModel):
        model_config = ConfigDict(extra="forbid")
        name: Literal["Ann", "Bob"]
        age: Literal[35, 36, 37]
        ok: bool

    answer = server.run(
        server.openai.chat.completions.parse(model="tiny", messages=ASKED, temperature=0, response_format=Person)
    )
    assert isinstance(answer.choices[0].message.parsed, Person)


def test_json_object(server: Served) -> None:
    assert json.loads(chat(server, response_format={"type": "json_object"}).choices[0].message.content)


def test_a_batch_of_conversations(server: Served) -> None:
    other = [{"role": "user", "content": "JSON: name=Bob age=20 ok=False"}]
    body = {"messages": [ASKED, other], "temperature": 0}
    answer = server.post("/v1/chat/completions/batch", body).json()
    alone = [chat(server, messages=messages) for messages in (ASKED, other)]
    texts = [choice["message"]["content"] for choice in answer["choices"]]
    assert texts == [each.choices[0].message.content for each in alone]
    assert [choice["index"] for choice in answer["choices"]] == [0, 1]
    assert answer["usage"]["total_tokens"] == sum(each.usage.total_tokens for each in alone)
    for name, value in {"stream": True, "tools": TOOLS, "messages": []}.items():
        refused = server.post("/v1/chat/completions/batch", body | {name: value})
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, name)


def test_many_streams_at_once_say_what_each_says_alone(server: Served) -> None:
    """More than the engine takes at once, so that streams wait, and outputs of slow readers are merged."""

    async def said(number: int, stream: bool) -> str:
        messages: Any = [{"role": "user", "content": f"JSON: name=Ann age={number} ok=True"}]
        common: dict[str, Any] = {"model": "tiny", "messages": messages, "temperature": 0, "max_tokens": 12}
        if not stream:
            answer = await server.openai.chat.completions.create(**common)
            return str(answer.choices[0].message.content)
        text = ""
        async for chunk in await server.openai.chat.completions.create(**common, stream=True):
            text += chunk.choices[0].delta.content or ""
        return text

    async def story(stream: bool) -> list[str]:
        return await asyncio.gather(*(said(number, stream) for number in range(40)))

    assert server.run(story(True)) == server.run(story(False))


# ---- tools


def test_the_models_own_calls(with_tools: Served) -> None:
    answer = chat(with_tools, tools=TOOLS)
    (call,) = answer.choices[0].message.tool_calls
    assert (call.function.name, call.function.arguments, call.id) == ("person", SAID, "call_1")
    assert (answer.choices[0].message.content, answer.choices[0].finish_reason) == (None, "tool_calls")
    streamed = joined(chunks_of(with_tools, tools=TOOLS))
    assert streamed["calls"] == {0: {"name": "person", "arguments": SAID, "id": "call_1"}}
    assert (streamed["content"], streamed["finish_reason"]) == ("", "tool_calls")


@pytest.mark.parametrize(("choice", "reason"), [("required", "tool_calls"), (NAMED, "stop")], ids=["required", "named"])
def test_forced_calls(with_tools: Served, choice: Any, reason: str) -> None:
    body: dict[str, Any] = {"tools": TOOLS, "tool_choice": choice, "parallel_tool_calls": False}
    whole = chat(with_tools, **body).choices[0]
    (call,) = whole.message.tool_calls
    assert call.function.name == "person"
    assert json.loads(call.function.arguments).keys() == {"name", "ok"}
    assert whole.finish_reason == reason
    streamed = joined(chunks_of(with_tools, **body))
    assert streamed["calls"][0]["arguments"] == call.function.arguments
    assert streamed["calls"][0]["id"]
    assert (streamed["content"], streamed["finish_reason"]) == ("", reason)


def test_a_named_function_must_be_there(with_tools: Served) -> None:
    with pytest.raises(openai.BadRequestError, match="nobody"):
        chat(with_tools, tools=TOOLS, tool_choice={"type": "function", "function": {"name": "nobody"}})


def test_auto_needs_its_option(inside: Served, with_tools: Served) -> None:
    manual = inside.with_args(tool_call_parser="object_is_call")
    with pytest.raises(openai.BadRequestError, match="--enable-auto-tool-choice"):
        chat(manual, tools=TOOLS)
    assert chat(manual, tools=TOOLS, tool_choice=NAMED).choices[0].message.tool_calls


def test_no_calls_where_none_are_wanted(with_tools: Served) -> None:
    assert chat(with_tools, tools=TOOLS, tool_choice="none").choices[0].message.content == SAID


def test_the_conversation_goes_on_after_a_call(with_tools: Served) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "person", "arguments": "{}"}}
    messages = [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "found"},
    ]
    assert chat(with_tools, messages=messages, max_tokens=3).usage.completion_tokens == 3


# ---- reasoning


def test_reasoning_stands_apart(with_reasoning: Served) -> None:
    thought, _, rest = SAID.partition(",")
    message = chat(with_reasoning).choices[0].message
    assert (message.reasoning, message.content) == (thought, rest)
    streamed = joined(chunks_of(with_reasoning))
    assert (streamed["reasoning"], streamed["content"]) == (thought, rest)
    hidden = chat(with_reasoning, extra_body={"include_reasoning": False}).choices[0].message
    assert (getattr(hidden, "reasoning", None), hidden.content) == (None, rest)
    assert joined(chunks_of(with_reasoning, extra_body={"include_reasoning": False}))["reasoning"] == ""


def test_a_form_leaves_no_room_for_reasoning(with_reasoning: Served) -> None:
    message = chat(with_reasoning, response_format={"type": "json_object"}).choices[0].message
    assert json.loads(message.content)
    assert getattr(message, "reasoning", None) is None
