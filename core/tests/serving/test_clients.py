"""The clients that people have, against a `vllm serve` in its own process: openai and anthropic, over real sockets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import openai
import pytest
from pydantic import BaseModel, ConfigDict

from core.tests.serving.spawned import Spawned, spawned

ASKED: list[Any] = [{"role": "user", "content": "JSON: name=Ann age=36 ok=True"}]
KEY = "a-key"
PARAMETERS = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 8}, "ok": {"type": "boolean"}},
    "required": ["name", "ok"],
    "additionalProperties": False,
}
TOOLS: list[Any] = [{"type": "function", "function": {"name": "person", "parameters": PARAMETERS}}]


class Person(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: Literal["Ann", "Bob"]
    age: Literal[35, 36, 37]
    ok: bool


@pytest.fixture(scope="module")
def keyed() -> Iterator[Spawned]:
    flags = ("--served-model-name", "tiny", "--max-model-len", "512", "--api-key", KEY)
    with spawned(*flags, "--enable-auto-tool-choice", "--tool-call-parser", "hermes") as one:
        yield one


@pytest.fixture
def of_openai(keyed: Spawned) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=f"{keyed.url}/v1", max_retries=0, timeout=60) as client:
        yield client


@pytest.fixture
def of_anthropic(keyed: Spawned) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(api_key=KEY, base_url=keyed.url, max_retries=0, timeout=60) as client:
        yield client


def test_completions(of_openai: openai.OpenAI) -> None:
    given: dict[str, Any] = {"model": "tiny", "prompt": "Hello", "temperature": 0, "max_tokens": 8}
    whole = of_openai.completions.create(**given).choices[0].text
    assert "".join(each.choices[0].text for each in of_openai.completions.create(stream=True, **given)) == whole


def test_chats(of_openai: openai.OpenAI) -> None:
    given: dict[str, Any] = {"model": "tiny", "messages": ASKED, "temperature": 0}
    whole = of_openai.chat.completions.create(**given).choices[0].message.content
    chunks = of_openai.chat.completions.create(stream=True, **given)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == whole
    with of_openai.chat.completions.stream(**given) as stream:
        assert stream.get_final_completion().choices[0].message.content == whole


def test_calls(of_openai: openai.OpenAI) -> None:
    said = of_openai.chat.completions.create(
        model="tiny", messages=ASKED, temperature=0, tools=TOOLS, tool_choice="required", parallel_tool_calls=False
    )
    (call,) = said.choices[0].message.tool_calls or ()
    assert call.type == "function"
    assert json.loads(call.function.arguments).keys() == {"name", "ok"}


def test_parsed_chats_and_responses(of_openai: openai.OpenAI) -> None:
    chat = of_openai.chat.completions.parse(model="tiny", messages=ASKED, temperature=0, response_format=Person)
    said = of_openai.responses.parse(model="tiny", input=ASKED, temperature=0, text_format=Person)
    assert isinstance(said.output_parsed, Person)
    assert chat.choices[0].message.parsed == said.output_parsed


def test_responses(of_openai: openai.OpenAI) -> None:
    whole = of_openai.responses.create(model="tiny", input=ASKED, temperature=0)
    with of_openai.responses.stream(model="tiny", input=ASKED, temperature=0) as stream:
        assert stream.get_final_response().output_text == whole.output_text
    assert of_openai.responses.retrieve(whole.id).output_text == whole.output_text


def test_models(of_openai: openai.OpenAI) -> None:
    assert [model.id for model in of_openai.models.list()] == ["tiny"]


def test_errors_by_class(of_openai: openai.OpenAI, of_anthropic: anthropic.Anthropic) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        of_openai.chat.completions.create(model="x", messages=ASKED)
    assert unknown.value.param == "model"
    with pytest.raises(openai.BadRequestError):
        of_openai.responses.create(model="tiny", input="word " * 900)
    with pytest.raises(openai.AuthenticationError):
        of_openai.with_options(api_key="wrong").models.list()
    with pytest.raises(anthropic.BadRequestError):
        of_anthropic.messages.create(model="tiny", max_tokens=0, messages=ASKED)
    with pytest.raises(anthropic.AuthenticationError):
        of_anthropic.with_options(api_key="wrong").messages.create(model="tiny", max_tokens=1, messages=ASKED)


def test_messages(of_anthropic: anthropic.Anthropic) -> None:
    given: dict[str, Any] = {"model": "tiny", "messages": ASKED, "max_tokens": 50, "extra_body": {"temperature": 0}}
    whole = of_anthropic.messages.create(**given)
    with of_anthropic.messages.stream(**given) as stream:
        text = "".join(stream.text_stream)
        assert stream.get_final_message().usage.output_tokens == whole.usage.output_tokens
    assert [block.text for block in whole.content if block.type == "text"] == [text]
    count = of_anthropic.messages.count_tokens(model="tiny", messages=ASKED)
    assert count.input_tokens == whole.usage.input_tokens


def test_uses_of_tools(of_anthropic: anthropic.Anthropic) -> None:
    said = of_anthropic.messages.create(
        model="tiny",
        messages=ASKED,
        max_tokens=100,
        tools=[{"name": "person", "input_schema": PARAMETERS}],
        tool_choice={"type": "any", "disable_parallel_tool_use": True},
        extra_body={"temperature": 0},
    )
    (block,) = said.content
    assert block.type == "tool_use"
    assert block.input.keys() == {"name", "ok"}
    assert said.stop_reason == "tool_use"
