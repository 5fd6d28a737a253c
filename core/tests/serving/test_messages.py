"""/v1/messages through the anthropic client: answers, streams, tools, thinking, forms, errors."""

from __future__ import annotations

from typing import Any, Literal

import anthropic
import pytest
from pydantic import BaseModel, ConfigDict

from core.tests.serving.in_process import Served
from core.tests.serving.test_chat import ASKED, SAID, CommaEndsReasoning, ObjectIsCall
from core.tests.serving.test_responses import PARAMETERS
from vllm.entrypoints.openai.reasoning import register_reasoning_parser
from vllm.entrypoints.openai.tools import register_tool_parser

TOOLS: list[Any] = [{"name": "person", "description": "Notes a person", "input_schema": PARAMETERS}]


@pytest.fixture
def with_parsers(inside: Served) -> Served:
    register_tool_parser("object_is_call", ObjectIsCall)
    register_reasoning_parser("comma", CommaEndsReasoning)
    return inside


@pytest.fixture
def with_tools(with_parsers: Served) -> Served:
    return with_parsers.with_args(enable_auto_tool_choice=True, tool_call_parser="object_is_call")


def client(server: Served) -> anthropic.AsyncAnthropic:
    return anthropic.AsyncAnthropic(
        auth_token="none", base_url="http://test", http_client=server.http, max_retries=0, timeout=60
    )


def _given(body: dict[str, Any]) -> dict[str, Any]:
    return {"model": "tiny", "messages": ASKED, "max_tokens": 200, "extra_body": {"temperature": 0}} | body


def message(server: Served, **body: Any) -> Any:
    return server.run(client(server).messages.create(**_given(body)))


def events_of(server: Served, **body: Any) -> list[Any]:
    async def story() -> list[Any]:
        return [each async for each in await client(server).messages.create(stream=True, **_given(body))]

    events: list[Any] = server.run(story())
    return events


def accumulated(server: Served, **body: Any) -> Any:
    """The message as the client puts the stream's events together."""

    async def story() -> Any:
        async with client(server).messages.stream(**_given(body)) as stream:
            return await stream.get_final_message()

    return server.run(story())


def test_a_message(inside: Served) -> None:
    said = message(inside)
    assert (said.type, said.role, said.model, said.id[:4]) == ("message", "assistant", "tiny", "msg_")
    assert [(block.type, block.text) for block in said.content] == [("text", SAID)]
    assert (said.stop_reason, said.stop_sequence) == ("end_turn", None)
    assert said.usage.output_tokens > 0


def test_a_stream_says_the_same(inside: Served) -> None:
    events = events_of(inside)
    names = [each.type for each in events]
    assert [name for i, name in enumerate(names) if names[i - 1] != name] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    whole, streamed = message(inside), accumulated(inside)
    assert streamed.content[0].text == SAID
    assert (streamed.stop_reason, streamed.usage.output_tokens) == ("end_turn", whole.usage.output_tokens)
    assert streamed.usage.input_tokens == whole.usage.input_tokens


def test_tokens_are_counted_as_they_are_used(inside: Served) -> None:
    body: dict[str, Any] = {"model": "tiny", "messages": ASKED, "system": [{"type": "text", "text": "Be brief"}]}
    count = inside.run(client(inside).messages.count_tokens(**body)).input_tokens
    assert count == message(inside, **body).usage.input_tokens
    assert count > inside.run(client(inside).messages.count_tokens(model="tiny", messages=ASKED)).input_tokens  # type: ignore[arg-type]


def test_stop_sequences(inside: Served) -> None:
    for said in (message(inside, stop_sequences=["age"]), accumulated(inside, stop_sequences=["age"])):
        assert (said.stop_reason, said.stop_sequence) == ("stop_sequence", "age")
        assert said.content[0].text == SAID[: SAID.index("age")]


def test_max_tokens(inside: Served) -> None:
    for said in (message(inside, max_tokens=3), accumulated(inside, max_tokens=3)):
        assert (said.stop_reason, said.usage.output_tokens) == ("max_tokens", 3)


def test_the_models_own_calls(with_tools: Served) -> None:
    for said in (message(with_tools, tools=TOOLS), accumulated(with_tools, tools=TOOLS)):
        (block,) = said.content
        assert (block.type, block.id, block.name) == ("tool_use", "call_1", "person")
        assert block.input == {"name": "delete", "age": 33, "ok": True}
        assert said.stop_reason == "tool_use"


@pytest.mark.parametrize("choice", [{"type": "any"}, {"type": "tool", "name": "person"}], ids=["any", "tool"])
def test_forced_calls(with_tools: Served, choice: Any) -> None:
    choice = choice | {"disable_parallel_tool_use": True}
    whole = message(with_tools, tools=TOOLS, tool_choice=choice)
    assert whole.content[0].input.keys() == {"name", "ok"}
    assert whole.stop_reason == "tool_use"
    streamed = accumulated(with_tools, tools=TOOLS, tool_choice=choice)
    assert (streamed.content[0].input, streamed.stop_reason) == (whole.content[0].input, "tool_use")


def test_no_calls_where_none_are_wanted(with_tools: Served) -> None:
    assert message(with_tools, tools=TOOLS, tool_choice={"type": "none"}).content[0].text == SAID


def test_a_call_that_is_cut_off_is_text(with_tools: Served) -> None:
    choice = {"type": "tool", "name": "person"}
    said = message(with_tools, tools=TOOLS, tool_choice=choice, max_tokens=3)
    assert (said.content[0].type, said.stop_reason) == ("text", "max_tokens")


def test_the_conversation_goes_on_after_a_call(with_tools: Served) -> None:
    thinking = {"type": "thinking", "thinking": "Hm", "signature": ""}
    call = {"type": "tool_use", "id": "call_1", "name": "person", "input": {"name": "Ann"}}
    result = {"type": "tool_result", "tool_use_id": "call_1", "content": [{"type": "text", "text": "found"}]}
    messages = [
        *ASKED,
        {"role": "assistant", "content": [thinking, {"type": "text", "text": "Let me see"}, call]},
        {"role": "user", "content": [result, {"type": "text", "text": "And?"}]},
    ]
    as_chat = [
        *ASKED,
        {
            "role": "assistant",
            "content": "Let me see",
            "tool_calls": [
                {"id": "call_1", "type": "function", "function": {"name": "person", "arguments": '{"name": "Ann"}'}}
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "found"},
        {"role": "user", "content": "And?"},
    ]
    chat = with_tools.run(with_tools.openai.chat.completions.create(model="tiny", messages=as_chat, max_tokens=1))
    assert message(with_tools, messages=messages, max_tokens=3).usage.input_tokens == chat.usage.prompt_tokens


def test_thinking_is_a_block_of_its_own(with_parsers: Served) -> None:
    thought, _, rest = SAID.partition(",")
    server = with_parsers.with_args(reasoning_parser="comma")
    for said in (message(server), accumulated(server)):
        first, second = said.content
        assert (first.type, first.thinking, second.type, second.text) == ("thinking", thought, "text", rest)


def test_parse_with_pydantic(inside: Served) -> None:
    class Person(BaseModel):
        model_config = ConfigDict(extra="forbid")
        name: Literal["Ann", "Bob"]
        age: Literal[35, 36, 37]
        ok: bool

    said = inside.run(client(inside).messages.parse(**_given({"output_format": Person})))
    assert isinstance(said.parsed_output, Person)


def _messages(*blocks: Any, role: str = "user") -> dict[str, Any]:
    return {"messages": [{"role": role, "content": list(blocks)}]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"messages": []}, "messages"),
        ({"messages": "Hello"}, "body.messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "role"),
        ({"messages": [{"role": "user", "content": 5}]}, "content"),
        ({"max_tokens": None}, "body.max_tokens"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 513}, "maximum context length"),
        ({"messages": [{"role": "user", "content": "word " * 900}]}, "maximum context length"),
        ({"messages": [{"role": "user", "content": "word " * 900}], "stream": True}, "maximum context length"),
        (_messages({"type": "image", "source": {}}), "multimodal"),
        (_messages({"type": "text"}), "lacks its text"),
        (_messages({"type": "tool_result"}), "tool_use_id"),
        (_messages({"type": "tool_use", "name": "f", "input": 1}, role="assistant"), "input"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "calls no tools itself"),
        ({"tools": [{"name": "f"}]}, "input_schema"),
        ({"tools": TOOLS}, "--enable-auto-tool-choice"),
        ({"tools": TOOLS, "tool_choice": {"type": "sometimes"}}, "tool_choice.type"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "schema"),
        ({"stop_sequences": ["a"] * 5}, "stop"),
        ({"temperature": 3}, "temperature"),
    ],
)
def test_refusals_are_in_anthropics_envelope(inside: Served, body: dict[str, Any], words: str) -> None:
    with pytest.raises(anthropic.BadRequestError) as refused:
        message(inside, extra_body=body)
    told: Any = refused.value.body
    assert (told["type"], told["error"]["type"]) == ("error", "invalid_request_error")
    assert words in told["error"]["message"]


def test_an_unknown_model_and_a_body_that_is_no_json(inside: Served) -> None:
    with pytest.raises(anthropic.NotFoundError, match="not_found_error"):
        message(inside, model="x")
    answer = inside.run(inside.http.post("/v1/messages", content=b"{"))
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")


def test_keys_come_as_anthropics_clients_send_them(inside: Served) -> None:
    guarded = inside.with_args(api_key=["right"])

    def count(**key: Any) -> Any:
        asking = anthropic.AsyncAnthropic(base_url="http://test", http_client=guarded.http, max_retries=0, **key)
        return guarded.run(asking.messages.count_tokens(model="tiny", messages=ASKED))

    assert count(api_key="right") == count(auth_token="right")
    for wrong in ({"api_key": "wrong"}, {"auth_token": "wrong"}, {"api_key": ""}):
        with pytest.raises(anthropic.AuthenticationError, match="authentication_error"):
            count(**wrong)
    assert guarded.post("/v1/completions", {}, headers={"x-api-key": "right"}).status_code == 401
