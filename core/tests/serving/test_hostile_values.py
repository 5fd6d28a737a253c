"""Whatever value a field is given: an answer or a refusal, never a 5xx, and the engine goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from core.tests.serving.in_process import Served
from vllm.entrypoints.anthropic.protocol import MessagesRequest
from vllm.entrypoints.openai.protocol.chat import ChatRequest
from vllm.entrypoints.openai.protocol.common import GenerationRequest
from vllm.entrypoints.openai.protocol.completions import CompletionRequest
from vllm.entrypoints.openai.protocol.responses import ResponsesRequest

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
PLAIN: dict[str, dict[str, Any]] = {
    COMPLETIONS: {"prompt": "Hello", "max_tokens": 2},
    CHAT: {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2},
    RESPONSES: {"input": "Hello", "max_output_tokens": 2},
    MESSAGES: {"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 2},
}
FIELDS = [
    *((COMPLETIONS, name) for name in CompletionRequest.model_fields),
    *((CHAT, name) for name in ChatRequest.model_fields),
    *(
        (RESPONSES, name)
        for name in sorted(ResponsesRequest.model_fields.keys() - GenerationRequest.model_fields.keys())
    ),
    *((MESSAGES, name) for name in sorted(MessagesRequest.model_fields.keys() - GenerationRequest.model_fields.keys())),
]
DEEP: Any = "x"
for _ in range(40):
    DEEP = {"properties": {"a": DEEP}} if isinstance(DEEP, dict) else {"type": DEEP}
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 7, 2**31, -(2**31), 2**63 - 1, 2**64, 1e308, float("nan"), float("inf"), -0.5),
    *("", "x", "\x00", "🦄" * 300, "{{ 1/0 }}", "{{", "(", "-1"),
    *([], [[]], [None], [""], ["x"], [1], [-1], [2**40], [1.5], ["x", 1], [{}], [[1, 2], [3]], ["a"] * 5),
    *({}, {"x": 1}, {"1": 1}, {"-1": 1}, {"1": None}, {"type": "function"}, {"regex": "("}, {"json": "{"}),
    {"json": {"type": "object", "properties": {"a": {"$ref": "#"}}}},
    {"json": DEEP},
    {"grammar": 'root ::= "a" | root root'},
    {"choice": ["\x00", "🦄"]},
    {"type": "json_schema", "json_schema": {"name": "x", "schema": {"minimum": "x"}}},
    [{"type": "function", "function": {"name": "f", "parameters": {"type": 3}}}],
    [{"role": "user", "content": [{"type": "text"}]}],
    [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}],
    [{"role": "user", "content": {"a": 1}}],
    [{"role": 5}],
    [{"role": "user", "content": "x", "tool_calls": 5}],
    [{"type": "function", "name": "f", "parameters": {"type": 3}}],
    [{"name": "f", "input_schema": {"type": 3}}],
    [{"type": "function_call", "call_id": "x", "name": "f", "arguments": "{"}],
    [{"type": "function_call_output", "call_id": "x", "output": {"a": 1}}],
    [{"type": "reasoning", "content": 5, "summary": [5]}],
    [{"type": {}}],
    [{"role": "assistant", "content": [{"type": "tool_use", "name": "f", "input": {"a": [{}]}}, {"type": []}]}],
    [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": [{"type": "image"}]}]}],
    {"format": {"type": "json_schema", "schema": {"type": 3}}},
    {"type": "allowed_tools", "tools": [5], "mode": "sometimes"},
    {"type": {"a": 1}},
    {"type": "tool", "name": 5},
    {"max_pattern_size": 2**40, "min_pattern_size": 1, "min_count": 2**40},
]


@pytest.fixture
def server(inside: Served) -> Served:
    return inside.with_args(trust_request_chat_template=True, enable_auto_tool_choice=True, tool_call_parser="hermes")


@pytest.mark.parametrize(("path", "field_name"), FIELDS)
def test_no_value_is_too_much(server: Served, path: str, field_name: str) -> None:
    async def statuses() -> list[tuple[Any, int, str]]:
        found = []
        for value in VALUES:
            body = json.dumps(PLAIN[path] | {field_name: value})
            answer = await server.http.post(path, content=body, headers={"Content-Type": "application/json"})
            found.append((value, answer.status_code, answer.text))
        return found

    failed = [each for each in server.run(statuses()) if each[1] >= 500]
    assert not failed
    assert not server.engine.errored
