"""/v1/responses through the openai client: answers, streams, tools, reasoning, forms, conversations, the background."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Literal

import openai
import pytest
from pydantic import BaseModel, ConfigDict

from core.tests.serving.in_process import Served
from core.tests.serving.test_chat import ASKED, SAID, CommaEndsReasoning, ObjectIsCall
from vllm.entrypoints.openai.reasoning import register_reasoning_parser
from vllm.entrypoints.openai.responses_store import ResponseStore, StoredResponse
from vllm.entrypoints.openai.tools import register_tool_parser

SAY: str = ASKED[0]["content"]
PARAMETERS = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "ok": {"type": "boolean"}},
    "required": ["name", "ok"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [{"type": "function", "name": "person", "parameters": PARAMETERS, "strict": True}]
TEXT_EVENTS = [
    "response.created",
    "response.in_progress",
    "response.output_item.added",
    "response.content_part.added",
    "response.output_text.delta",
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
    "response.completed",
]


@pytest.fixture
def with_parsers(inside: Served) -> Served:
    register_tool_parser("object_is_call", ObjectIsCall)
    register_reasoning_parser("comma", CommaEndsReasoning)
    return inside


def answer(server: Served, **body: Any) -> Any:
    given = {"model": "tiny", "input": SAY, "temperature": 0} | body
    return server.run(server.openai.responses.create(**given))


def events_of(server: Served, **body: Any) -> list[Any]:
    async def story() -> list[Any]:
        given = {"model": "tiny", "input": SAY, "temperature": 0, "stream": True} | body
        return [each async for each in await server.openai.responses.create(**given)]

    events: list[Any] = server.run(story())
    assert [each.sequence_number for each in events] == list(range(len(events)))
    return events


def kinds(events: list[Any]) -> list[str]:
    """The events' names, those in a row once."""
    names = [each.type for each in events]
    return [name for i, name in enumerate(names) if i == 0 or names[i - 1] != name]


def without_ids(items: list[Any]) -> list[dict[str, Any]]:
    return [{key: value for key, value in item.model_dump().items() if key not in ("id", "call_id")} for item in items]


def test_an_answer(inside: Served) -> None:
    response = answer(inside, instructions="Be brief", metadata={"a": "b"})
    assert (response.object, response.status, response.id[:5]) == ("response", "completed", "resp_")
    assert (response.instructions, response.metadata, response.temperature) == ("Be brief", {"a": "b"}, 0)
    (item,) = answer(inside).output
    assert (item.type, item.role, item.content[0].text, item.status) == ("message", "assistant", SAID, "completed")
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


def test_a_stream_gives_the_events_in_order_and_the_same_text(inside: Served) -> None:
    events = events_of(inside)
    assert kinds(events) == TEXT_EVENTS
    assert "".join(each.delta for each in events if each.type == "response.output_text.delta") == SAID
    whole = answer(inside)
    assert without_ids(events[-1].response.output) == without_ids(whole.output)
    assert events[-1].response.usage.output_tokens == whole.usage.output_tokens


def test_the_clients_own_accumulation(inside: Served) -> None:
    async def story() -> Any:
        async with inside.openai.responses.stream(model="tiny", input=SAY, temperature=0) as stream:
            return await stream.get_final_response()

    assert inside.run(story()).output_text == SAID


def test_logprobs(inside: Served) -> None:
    body: dict[str, Any] = {"include": ["message.output_text.logprobs"], "top_logprobs": 2}
    logprobs = answer(inside, **body).output[0].content[0].logprobs
    assert all(len(each.top_logprobs) == 2 for each in logprobs)
    events = events_of(inside, **body)
    streamed = [each for event in events if event.type == "response.output_text.delta" for each in event.logprobs]
    assert [each.token for each in streamed] == [each.token for each in logprobs][: len(streamed)]
    assert events[-1].response.output[0].content[0].logprobs == logprobs


def test_a_response_that_is_cut_off_is_incomplete(inside: Served) -> None:
    response = answer(inside, max_output_tokens=3)
    assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert response.usage.output_tokens == 3
    assert events_of(inside, max_output_tokens=3)[-1].type == "response.incomplete"


def test_parse_with_pydantic(inside: Served) -> None:
    class Person(BaseModel):
        model_config = ConfigDict(extra="forbid")
        name: Literal["Ann", "Bob"]
        age: Literal[35, 36, 37]
        ok: bool

    response = inside.run(inside.openai.responses.parse(model="tiny", input=SAY, temperature=0, text_format=Person))
    assert isinstance(response.output_parsed, Person)
    assert response.text.format.type == "json_schema"


# ---- tools and reasoning


def test_the_models_own_calls(with_parsers: Served) -> None:
    server = with_parsers.with_args(enable_auto_tool_choice=True, tool_call_parser="object_is_call")
    (call,) = answer(server, tools=TOOLS).output
    assert (call.type, call.call_id, call.name, call.arguments) == ("function_call", "call_1", "person", SAID)
    events = events_of(server, tools=TOOLS)
    assert kinds(events)[2:6] == [
        "response.output_item.added",
        "response.function_call_arguments.delta",
        "response.function_call_arguments.done",
        "response.output_item.done",
    ]
    assert without_ids(events[-1].response.output) == without_ids([call])


@pytest.mark.parametrize(
    "choice",
    [
        "required",
        {"type": "function", "name": "person"},
        {"type": "allowed_tools", "mode": "required", "tools": [{"type": "function", "name": "person"}]},
    ],
    ids=["required", "named", "allowed"],
)
def test_forced_calls(with_parsers: Served, choice: Any) -> None:
    server = with_parsers.with_args(enable_auto_tool_choice=True, tool_call_parser="object_is_call")
    (call,) = answer(server, tools=TOOLS, tool_choice=choice, parallel_tool_calls=False).output
    assert json.loads(call.arguments).keys() == {"name", "ok"}


def test_the_conversation_goes_on_after_a_call(inside: Served) -> None:
    items: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": SAY}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "Hm"}]},
        {"type": "function_call", "call_id": "call_1", "name": "person", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "found"},
    ]
    assert answer(inside, input=items, max_output_tokens=3).usage.output_tokens == 3


def test_reasoning_is_an_item_of_its_own(with_parsers: Served) -> None:
    thought, _, rest = SAID.partition(",")
    server = with_parsers.with_args(reasoning_parser="comma")
    response = answer(server)
    reasoning, message = response.output
    assert (reasoning.type, reasoning.content[0].text, message.content[0].text) == ("reasoning", thought, rest)
    assert 0 < response.usage.output_tokens_details.reasoning_tokens < response.usage.output_tokens
    events = events_of(server)
    assert "".join(each.delta for each in events if each.type == "response.reasoning_text.delta") == thought
    assert without_ids(events[-1].response.output) == without_ids(response.output)


# ---- stored


def test_a_response_can_be_retrieved_and_followed(inside: Served) -> None:
    first = answer(inside)
    assert inside.run(inside.openai.responses.retrieve(first.id)) == first
    following = answer(inside, previous_response_id=first.id, input="And then?", max_output_tokens=2)
    items = [
        {"role": "user", "content": SAY},
        {"role": "assistant", "content": SAID},
        {"role": "user", "content": "And then?"},
    ]
    assert following.usage.input_tokens == answer(inside, input=items, max_output_tokens=2).usage.input_tokens
    assert following.previous_response_id == first.id


def test_a_streamed_response_can_be_retrieved(inside: Served) -> None:
    last = events_of(inside)[-1].response
    assert inside.run(inside.openai.responses.retrieve(last.id)) == last


def test_what_is_not_stored_cannot_be_retrieved(inside: Served) -> None:
    with pytest.raises(openai.NotFoundError):
        inside.run(inside.openai.responses.retrieve(answer(inside, store=False).id))
    with pytest.raises(openai.NotFoundError):
        answer(inside, previous_response_id="resp_x")


def test_a_background_response_is_worked_on(inside: Served) -> None:
    async def story() -> Any:
        client = inside.openai.responses
        response = await client.create(model="tiny", input=SAY, temperature=0, background=True)
        assert (response.status, response.output) == ("queued", [])
        while response.status == "queued":
            await asyncio.sleep(0)  # the client and the routes never wait for anything here
            response = await client.retrieve(response.id)
        return response

    response = inside.run(story())
    assert (response.status, response.output_text) == ("completed", SAID)


def test_a_background_response_can_be_cancelled(inside: Served) -> None:
    async def story() -> Any:
        client = inside.openai.responses
        body: Any = {"ignore_eos": True}
        response = await client.create(model="tiny", input=SAY, background=True, extra_body=body)
        await client.cancel(response.id)
        while inside.engine.num_unfinished_requests:
            await asyncio.sleep(0)
        return await client.retrieve(response.id)

    assert inside.run(story()).status == "cancelled"


def test_a_background_response_that_fails_says_so(inside: Served) -> None:
    async def story() -> Any:
        client = inside.openai.responses
        response = await client.create(model="tiny", input="word " * 900, background=True)
        while response.status == "queued":
            await asyncio.sleep(0)  # the client and the routes never wait for anything here
            response = await client.retrieve(response.id)
        return response

    response = inside.run(story())
    assert (response.status, response.error.code) == ("failed", "invalid_prompt")
    assert "maximum context length" in response.error.message


def test_a_usual_response_cannot_be_cancelled(inside: Served) -> None:
    with pytest.raises(openai.BadRequestError, match="background"):
        inside.run(inside.openai.responses.cancel(answer(inside).id))


def _stored(name: str, text: str, status: str = "completed") -> StoredResponse:
    return StoredResponse({"id": name, "status": status, "output": [{"text": text}]}, [])


def test_the_store_forgets_the_oldest_that_has_ended() -> None:
    store = ResponseStore(max_responses=2)
    for each in (_stored("a", "", "queued"), _stored("b", ""), _stored("c", "")):
        store.put(each)
    assert (store.get("a").has_ended, store.get("c").has_ended) == (False, True)
    with pytest.raises(Exception, match="no response `b`"):
        store.get("b")


def test_the_store_is_bounded_in_bytes() -> None:
    store = ResponseStore(max_bytes=1000)
    for name in "abcd":
        store.put(_stored(name, 200 * name))
    with pytest.raises(Exception, match="no response `b`"):
        store.get("b")
    assert store.get("c").response["output"][0]["text"] == 200 * "c"
    store.put(_stored("huge", 2000 * "x"))
    with pytest.raises(Exception, match="no response"):
        store.get("huge")


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "body.input"),
        ({"input": [{"type": "web_search_call"}]}, "input[0].type"),
        ({"input": [{"content": "no role"}]}, "input[0].role"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "input[0]"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "messages[0].content[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": TOOLS}, None),
        ({"tools": TOOLS, "tool_choice": {"type": "mcp"}}, "tool_choice"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True, "stream": True}, "background"),
        ({"background": True, "store": False}, "background"),
        ({"max_output_tokens": 0}, "max_tokens"),
        ({"temperature": 3}, "temperature"),
        ({"model": "x"}, "model"),
    ],
)
def test_refusals(inside: Served, body: dict[str, Any], param: str | None) -> None:
    response = inside.post("/v1/responses", {"input": SAY} | body)
    assert response.status_code == (404 if param == "model" else 400), response.text
    if param is not None:
        assert response.json()["error"]["param"] == param
