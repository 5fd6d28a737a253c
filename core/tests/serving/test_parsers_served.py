"""Each format through the whole server: the tiny model is made to write it by a regular expression, and the openai client reads calls."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from core.tests.serving.in_process import Served

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {"name": "sum", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}},
    }
]
WRITTEN = {
    "hermes": r'<tool_call>\n\{"name": "sum", "arguments": \{"n": 12\}\}\n</tool_call>\n<tool_call>\n\{"name": "sum", '
    r'"arguments": \{"n": 7\}\}\n</tool_call>',
    "llama3_json": r'\{"name": "sum", "parameters": \{"n": 12\}\}; \{"name": "sum", "parameters": \{"n": 7\}\}',
    "mistral": r'\[TOOL_CALLS\]\[\{"name": "sum", "arguments": \{"n": 12\}\}, \{"name": "sum", "arguments": \{"n": 7\}\}\]',
    "pythonic": r"\[sum\(n=12\), sum\(n=7\)\]",
    "qwen3_coder": r"<tool_call>\n<function=sum>\n<parameter=n>\n12\n</parameter>\n</function>\n</tool_call>\n"
    r"<tool_call>\n<function=sum>\n<parameter=n>\n7\n</parameter>\n</function>\n</tool_call>",
}


def body(regex: str, **more: Any) -> dict[str, Any]:
    messages = [{"role": "user", "content": "Add."}]
    return {
        "model": "tiny",
        "messages": messages,
        "temperature": 0,
        "extra_body": {"structured_outputs": {"regex": regex}},
    } | more


def ask(server: Served, regex: str, **more: Any) -> Any:
    return server.run(server.openai.chat.completions.create(**body(regex, **more))).choices[0]


def final_of_stream(server: Served, regex: str, **more: Any) -> Any:
    """What the client's own helper puts together from the stream."""

    async def story() -> Any:
        async with server.openai.chat.completions.stream(**body(regex, **more)) as stream:
            return await stream.get_final_completion()

    return server.run(story()).choices[0]


@pytest.mark.parametrize("parser", WRITTEN)
def test_calls_of_each_format_whole_and_streamed(inside: Served, parser: str) -> None:
    server = inside.with_args(enable_auto_tool_choice=True, tool_call_parser=parser)
    for choice in (ask(server, WRITTEN[parser], tools=TOOLS), final_of_stream(server, WRITTEN[parser], tools=TOOLS)):
        calls = choice.message.tool_calls
        assert [(call.function.name, json.loads(call.function.arguments)) for call in calls] == [
            ("sum", {"n": 12}),
            ("sum", {"n": 7}),
        ]
        assert len({call.id for call in calls}) == 2
        assert (choice.message.content or "", choice.finish_reason) == ("", "tool_calls")


def test_one_call_where_parallel_calls_are_off(inside: Served) -> None:
    server = inside.with_args(enable_auto_tool_choice=True, tool_call_parser="hermes")
    more: dict[str, Any] = {"tools": TOOLS, "parallel_tool_calls": False}
    for choice in (ask(server, WRITTEN["hermes"], **more), final_of_stream(server, WRITTEN["hermes"], **more)):
        assert len(choice.message.tool_calls) == 1


def test_text_that_is_no_call_is_the_answer(inside: Served) -> None:
    server = inside.with_args(enable_auto_tool_choice=True, tool_call_parser="llama3_json")
    regex = r'\{"name": "Ada", "age": 36\}'
    for choice in (ask(server, regex, tools=TOOLS), final_of_stream(server, regex, tools=TOOLS)):
        assert (choice.message.content, choice.finish_reason) == ('{"name": "Ada", "age": 36}', "stop")


def test_without_tools_the_text_stays_as_it_is(inside: Served) -> None:
    server = inside.with_args(enable_auto_tool_choice=True, tool_call_parser="pythonic")
    assert ask(server, WRITTEN["pythonic"]).message.content == "[sum(n=12), sum(n=7)]"


def streamed(server: Served, asked: dict[str, Any]) -> tuple[str, str, str]:
    """Content, arguments and finish reason of a stream; the client's own helper raises where the output was cut off."""
    lines = server.post("/v1/chat/completions", asked | {"stream": True}).text.splitlines()
    choices = [json.loads(line[6:])["choices"][0] for line in lines if line.startswith("data: {")]
    calls = [call for each in choices for call in each["delta"].get("tool_calls") or ()]
    arguments = "".join(call["function"].get("arguments") or "" for call in calls)
    return "".join(each["delta"].get("content") or "" for each in choices), arguments, choices[-1]["finish_reason"]


@pytest.mark.parametrize("max_tokens", [2, 60])
def test_required_calls_that_are_cut_off_are_no_content(inside: Served, max_tokens: int) -> None:
    """Neither whole nor streamed, be it before the call's name or within its arguments."""
    server = inside.with_args(tool_call_parser="hermes")
    long = {"type": "object", "properties": {"n": {"type": "string", "minLength": 100}}, "required": ["n"]}
    tool = {"type": "function", "function": {"name": "s", "parameters": long}}
    asked = {"messages": [{"role": "user", "content": "Add."}], "tools": [tool], "tool_choice": "required"}
    asked |= {"max_tokens": max_tokens, "temperature": 0}
    (choice,) = server.post("/v1/chat/completions", asked).json()["choices"]
    arguments = "".join(call["function"]["arguments"] for call in choice["message"].get("tool_calls") or ())
    whole = (choice["message"]["content"] or "", arguments, choice["finish_reason"])
    assert whole == streamed(server, asked) == ("", arguments, "length")
    assert arguments == "" if max_tokens == 2 else arguments.startswith("{")


def test_reasoning_is_parted_from_the_answer(inside: Served) -> None:
    """Without a form the tiny model writes no end tag: all is reasoning, as for an output that is cut off, unless thinking is off."""
    server = inside.with_args(reasoning_parser="qwen3")
    plain: dict[str, Any] = {"extra_body": {}, "max_tokens": 6}
    thought = ask(server, "", **plain)
    said = ask(server, "", **plain | {"extra_body": {"chat_template_kwargs": {"enable_thinking": False}}})
    assert (thought.message.reasoning, thought.message.content) == (said.message.content, None)


def test_a_choice_that_the_server_cannot_grant_is_the_clients_error(inside: Served) -> None:
    with pytest.raises(openai.BadRequestError, match="--tool-call-parser"):
        ask(inside, WRITTEN["hermes"], tools=TOOLS)
