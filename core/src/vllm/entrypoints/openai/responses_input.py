"""Owns what a Responses request asks for, said as a chat: items become messages, flat tools become nested ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vllm.entrypoints.openai.as_chat import as_chat
from vllm.errors import InvalidRequestError

if TYPE_CHECKING:
    from vllm.entrypoints.openai.protocol.chat import ChatRequest
    from vllm.entrypoints.openai.protocol.responses import ResponsesRequest, TextConfig

__all__ = ["Item", "chat_of", "input_items", "wants_logprobs"]

Item = Mapping[str, Any]
_LOGPROBS = "message.output_text.logprobs"


def input_items(body: ResponsesRequest) -> list[Item]:
    """The request's own items; a text is what the user says. Raises InvalidRequestError."""
    if not body.input:
        raise _wrong("input", "must be a text or a list of items, and not empty")
    if isinstance(body.input, str):
        return [{"type": "message", "role": "user", "content": body.input}]
    return list(body.input)


def wants_logprobs(body: ResponsesRequest) -> bool:
    """Whether the text comes with log-probabilities."""
    return _LOGPROBS in (body.include or ()) or bool(body.top_logprobs)


def chat_of(body: ResponsesRequest, items: Sequence[Item]) -> ChatRequest:
    """The chat that `items`, the request's and those before, and its other fields mean. Raises InvalidRequestError."""
    _refuse_what_is_not_there(body)
    tools, choice = _tools_and_choice(body)
    return as_chat(
        body,
        messages=[*_instructions(body), *_messages(items)],
        max_tokens=body.max_output_tokens,
        tools=[_tool(tool, f"tools[{i}]") for i, tool in enumerate(tools)] or None,
        tool_choice=choice if tools else None,
        parallel_tool_calls=body.parallel_tool_calls,
        response_format=_response_format(body.text),
        reasoning_effort=body.reasoning.effort if body.reasoning else None,
        logprobs=wants_logprobs(body),
        top_logprobs=body.top_logprobs,
        chat_template_kwargs=body.chat_template_kwargs,
    )


def _refuse_what_is_not_there(body: ResponsesRequest) -> None:
    if body.conversation is not None:
        raise _wrong("conversation", "is not supported; give `previous_response_id`, or all items as `input`")
    if body.prompt is not None:
        raise _wrong("prompt", "(a stored prompt) is not supported; give its text as `instructions` or `input`")
    if body.background and body.stream:
        raise _wrong("background", "and `stream` cannot both be true; retrieve the response until it is completed")
    if body.background and body.store is False:
        raise _wrong("background", "needs `store`: nothing could be retrieved otherwise")


def _instructions(body: ResponsesRequest) -> list[dict[str, Any]]:
    return [{"role": "system", "content": body.instructions}] if body.instructions else []


def _response_format(text: TextConfig | None) -> dict[str, Any] | None:
    form = text.format if text else None
    if form is None:
        return None
    if form.type != "json_schema":
        return {"type": form.type}
    if form.json_schema is None:
        raise _wrong("text.format", "is json_schema, so it needs a `schema`")
    return {"type": "json_schema", "json_schema": {"name": form.name, "schema": form.json_schema}}


# ---- items


def _messages(items: Sequence[Item]) -> list[dict[str, Any]]:
    """What the model thought, said and called in one turn becomes one message."""
    messages: list[dict[str, Any]] = []
    for i, item in enumerate(items):
        _add(messages, item, f"input[{i}]")
    return messages


def _add(messages: list[dict[str, Any]], item: Item, where: str) -> None:
    match item.get("type", "message"):
        case "message":
            _add_message(messages, item, where)
        case "reasoning":
            text = _reasoning_text(item)
            _turn(messages).update(reasoning=text, reasoning_content=text)
        case "function_call":
            _turn(messages).setdefault("tool_calls", []).append(_call(item, where))
        case "function_call_output":
            messages.append(_call_output(item, where))
        case other:
            raise _wrong(f"{where}.type", f"is {other!r}; there are messages, reasoning, and calls of functions")


def _add_message(messages: list[dict[str, Any]], item: Item, where: str) -> None:
    role = item.get("role")
    if not isinstance(role, str):
        raise _wrong(f"{where}.role", f"must be a string, got {role!r}")
    if role == "assistant" and messages and messages[-1].keys() == {"role", "reasoning", "reasoning_content"}:
        messages[-1]["content"] = item.get("content")
    else:
        messages.append({"role": "system" if role == "developer" else role, "content": item.get("content")})


def _turn(messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The assistant's message that goes on, or a new one."""
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant"})
    return messages[-1]


def _reasoning_text(item: Item) -> str:
    parts = item.get("content") or item.get("summary") or ()
    if not isinstance(parts, Sequence):
        return ""
    return "".join([str(part.get("text", "")) for part in parts if isinstance(part, Mapping)])


def _call(item: Item, where: str) -> dict[str, Any]:
    name, arguments = item.get("name"), item.get("arguments")
    if not isinstance(name, str) or not isinstance(arguments, str):
        raise _wrong(where, "(a call) needs `name`, and `arguments` as JSON text")
    return {"id": item.get("call_id"), "type": "function", "function": {"name": name, "arguments": arguments}}


def _call_output(item: Item, where: str) -> dict[str, Any]:
    if not isinstance(item.get("call_id"), str):
        raise _wrong(f"{where}.call_id", "must say which call this is the output of")
    return {"role": "tool", "tool_call_id": item["call_id"], "content": item.get("output")}


# ---- tools


def _tools_and_choice(body: ResponsesRequest) -> tuple[Sequence[Mapping[str, Any]], Any]:
    """The tools that may be called. A list of allowed ones leaves the others out."""
    tools, choice = body.tools or (), body.tool_choice
    if not isinstance(choice, dict):
        return tools, choice
    match choice.get("type"):
        case "function":
            return tools, {"type": "function", "function": {"name": choice.get("name")}}
        case "allowed_tools" if isinstance(choice.get("tools"), list):
            names = [tool.get("name") for tool in choice["tools"] if isinstance(tool, dict)]
            return [tool for tool in tools if tool.get("name") in names], choice.get("mode", "auto")
    raise _wrong("tool_choice", f"cannot be {choice!r}; it may name a function, or list allowed tools")


def _tool(tool: Mapping[str, Any], where: str) -> dict[str, Any]:
    if tool.get("type") != "function":
        raise _wrong(f"{where}.type", f"is {tool.get('type')!r}, but this server calls no tools itself: give functions")
    function = {key: tool[key] for key in ("name", "description", "parameters", "strict") if tool.get(key) is not None}
    return {"type": "function", "function": function}


def _wrong(name: str, rule: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{name}` {rule}.", parameter=name)
