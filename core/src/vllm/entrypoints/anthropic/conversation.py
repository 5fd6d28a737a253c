"""Owns what a Messages request asks for, said as a chat: blocks become text, calls and tool messages; tools become functions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vllm.entrypoints.openai.as_chat import as_chat
from vllm.errors import InvalidRequestError

if TYPE_CHECKING:
    from vllm.entrypoints.anthropic.protocol import CountTokensRequest, MessagesRequest, OutputConfig
    from vllm.entrypoints.openai.protocol.chat import ChatRequest

__all__ = ["chat_of", "chat_to_count"]

Json = dict[str, Any]
Block = Mapping[str, Any]
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def chat_of(body: MessagesRequest) -> ChatRequest:
    """The chat that the request means. Raises InvalidRequestError."""
    stop = [body.stop] if isinstance(body.stop, str) else body.stop or []
    return as_chat(
        body, **_conversation(body), max_tokens=body.max_tokens, stop=[*stop, *(body.stop_sequences or ())] or None
    )


def chat_to_count(body: CountTokensRequest) -> ChatRequest:
    """The chat whose prompt is to be counted. Raises InvalidRequestError."""
    return as_chat(body, **_conversation(body))


def _conversation(body: CountTokensRequest) -> Json:
    choice = body.tool_choice or {}
    return {
        "messages": [*_system(body.system), *_messages(body.messages)],
        "tools": [_tool(tool, f"tools[{i}]") for i, tool in enumerate(body.tools or ())] or None,
        "tool_choice": _tool_choice(choice) if body.tools and choice else None,
        "parallel_tool_calls": not choice.get("disable_parallel_tool_use"),
        "response_format": _response_format(body.output_config),
        "reasoning_effort": body.output_config.effort if body.output_config else None,
        "chat_template_kwargs": _template_kwargs(body),
    }


def _system(system: str | list[Json] | None) -> list[Json]:
    if not system:
        return []
    text = system if isinstance(system, str) else "\n".join(_text(block, "system") for block in system)
    return [{"role": "system", "content": text}]


def _template_kwargs(body: CountTokensRequest) -> Json | None:
    """`thinking` is a switch for the template, and no budget."""
    kind = (body.thinking or {}).get("type")
    if kind not in ("enabled", "adaptive", "disabled"):
        return body.chat_template_kwargs
    return {"enable_thinking": kind != "disabled", **(body.chat_template_kwargs or {})}


def _response_format(config: OutputConfig | None) -> Json | None:
    form = config.format if config else None
    if form is None:
        return None
    if form.type != "json_schema" or form.json_schema is None:
        raise _wrong("output_config.format", "must be of the type json_schema and have a `schema`")
    return {"type": "json_schema", "json_schema": {"schema": form.json_schema}}


# ---- messages


def _messages(messages: Sequence[Json]) -> list[Json]:
    if not messages:
        raise _wrong("messages", "must hold at least one message")
    return [each for i, message in enumerate(messages) for each in _message(message, f"messages[{i}]")]


def _message(message: Json, where: str) -> list[Json]:
    role, content = message.get("role"), message.get("content")
    if role not in ("user", "assistant", "system"):
        raise _wrong(f"{where}.role", f"must be user or assistant, got {role!r}")
    if isinstance(content, str):
        return [{"role": role, "content": content}]
    if not isinstance(content, list) or not all(isinstance(block, dict) for block in content):
        raise _wrong(f"{where}.content", "must be a text or a list of blocks")
    if role == "assistant":
        return [_assistant(content, f"{where}.content")]
    return _user(role, content, f"{where}.content")


def _user(role: str, blocks: Sequence[Block], where: str) -> list[Json]:
    """Results of tools are messages of their own, before what the user says."""
    results, texts = [], []
    for i, block in enumerate(blocks):
        if block.get("type") == "tool_result":
            results.append(_tool_result(block, f"{where}[{i}]"))
        else:
            texts.append(_text(block, f"{where}[{i}]"))
    said = [{"role": role, "content": "\n".join(texts)}] if texts or not results else []
    return [*results, *said]


def _tool_result(block: Block, where: str) -> Json:
    content = block.get("content")
    if isinstance(content, list):
        content = "\n".join(_text(part, f"{where}.content[{i}]") for i, part in enumerate(content))
    if not isinstance(block.get("tool_use_id"), str) or not isinstance(content, str | None):
        raise _wrong(where, "(a tool's result) needs `tool_use_id`, and as `content` a text or blocks")
    return {"role": "tool", "tool_call_id": block["tool_use_id"], "content": content or ""}


def _assistant(blocks: Sequence[Block], where: str) -> Json:
    """One message: what was thought, said and called."""
    thoughts, texts, calls = [], [], []
    for i, block in enumerate(blocks):
        match block.get("type"):
            case "thinking":
                thoughts.append(str(block.get("thinking", "")))
            case "redacted_thinking":
                pass  # nobody but its writer can read it
            case "tool_use":
                calls.append(_call(block, f"{where}[{i}]"))
            case _:
                texts.append(_text(block, f"{where}[{i}]"))
    message: Json = {"role": "assistant", "content": "\n".join(texts)}
    if thoughts:
        message["reasoning"] = message["reasoning_content"] = "\n".join(thoughts)
    return message | ({"tool_calls": calls} if calls else {})


def _call(block: Block, where: str) -> Json:
    name, arguments = block.get("name"), block.get("input", {})
    if not isinstance(name, str) or not isinstance(arguments, dict):
        raise _wrong(where, "(a use of a tool) needs `name`, and an object as `input`")
    text = json.dumps(arguments, ensure_ascii=False)
    return {"id": block.get("id"), "type": "function", "function": {"name": name, "arguments": text}}


def _text(block: Any, where: str) -> str:
    kind = block.get("type") if isinstance(block, Mapping) else None
    if kind == "text" and isinstance(block.get("text"), str):
        return str(block["text"])
    if kind in ("image", "document"):
        raise _wrong(where, f"has the type {kind!r}, but this model is not a multimodal model")
    raise _wrong(where, f"has the type {kind!r}, which cannot stand here, or lacks its text")


# ---- tools


def _tool(tool: Json, where: str) -> Json:
    if tool.get("type", "custom") not in ("custom", None):
        raise _wrong(f"{where}.type", f"is {tool['type']!r}, but this server calls no tools itself: give your own")
    if not isinstance(tool.get("name"), str) or not isinstance(tool.get("input_schema"), dict):
        raise _wrong(where, "needs a `name` and an `input_schema`")
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    if isinstance(tool.get("description"), str):
        function["description"] = tool["description"]
    return {"type": "function", "function": function}


def _tool_choice(choice: Json) -> Any:
    kind = choice.get("type")
    if kind == "tool":
        return {"type": "function", "function": {"name": choice.get("name")}}
    if not isinstance(kind, str) or kind not in _CHOICES:
        raise _wrong("tool_choice.type", f"must be auto, any, tool or none, got {kind!r}")
    return _CHOICES[kind]


def _wrong(name: str, rule: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{name}` {rule}.", parameter=name)
