"""Owns the way from chat messages to a prompt's text: checks, content parts, tool calls, then the model's template."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm.errors import InvalidRequestError
from vllm.text.chat_template import render_chat_template, select_chat_template

if TYPE_CHECKING:
    from vllm.text.tokenizer import Tokenizer

__all__ = ["PreparedChat", "as_conversations", "normalise_messages", "prepare_chat"]

_TEXT_PARTS = {"text": "text", "input_text": "text", "output_text": "text", "refusal": "refusal"}
"""Kinds of content part that are text, with the key that holds it."""
_MEDIA_WORDS = ("image", "audio", "video", "file")


def as_conversations(messages: Any) -> list[Sequence[Any]]:
    """What `LLM.chat` was given as a list of conversations: a single one becomes a list of one."""
    if not isinstance(messages, Sequence) or isinstance(messages, (str, bytes)) or not messages:
        raise InvalidRequestError(
            f"Messages must be a list of dicts, or a list of such lists, got {messages!r}.", parameter="messages"
        )
    if isinstance(messages[0], Sequence) and not isinstance(messages[0], (str, bytes)):
        return list(messages)
    return [messages]


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedChat:
    """All that rendering one conversation needs, as plain data: another process may do it."""

    template: str
    messages: Sequence[Any]
    model: str
    variables: Mapping[str, Any]
    add_generation_prompt: bool
    continue_final_message: bool

    def render(self) -> str:
        """The prompt text; encode it with `add_special_tokens=False`, the template writes them itself. Raises InvalidRequestError."""
        return render_chat_template(
            self.template,
            normalise_messages(self.messages, model=self.model),
            variables=self.variables,
            add_generation_prompt=self.add_generation_prompt,
            continue_final_message=self.continue_final_message,
        )


def prepare_chat(
    tokenizer: Tokenizer,
    messages: Sequence[Any],
    *,
    model: str = "this model",
    chat_template: str | None = None,
    tools: Sequence[Mapping[str, Any]] | None = None,
    add_generation_prompt: bool = True,
    continue_final_message: bool = False,
    template_kwargs: Mapping[str, Any] | None = None,
) -> PreparedChat:
    """One conversation, ready to be rendered. `model` is named in the refusal of images. Raises InvalidRequestError."""
    template = select_chat_template(tokenizer.chat_template, chat_template, has_tools=bool(tools))
    variables = {**tokenizer.special_tokens_map, "tools": list(tools) if tools else None, "documents": None}
    return PreparedChat(
        template=template,
        messages=messages,
        model=model,
        variables={**variables, **(template_kwargs or {})},
        add_generation_prompt=add_generation_prompt,
        continue_final_message=continue_final_message,
    )


def normalise_messages(messages: Sequence[Any], *, model: str = "this model") -> list[dict[str, Any]]:
    """Messages as templates expect them: content as one string, arguments of tool calls as objects."""
    return [_normalise(message, f"messages[{i}]", model) for i, message in enumerate(messages)]


def _normalise(message: Any, where: str, model: str) -> dict[str, Any]:
    model_dump = getattr(message, "model_dump", None)  # a pydantic message, as OpenAI's client gives it
    fields = model_dump(exclude_none=True) if callable(model_dump) else message
    if not isinstance(fields, Mapping):
        raise _wrong(where, f"must be a dict with `role` and `content`, got {message!r}")
    if not isinstance(fields.get("role"), str):
        raise _wrong(f"{where}.role", f"must be a string, got {fields.get('role')!r}")
    result = {**fields, "content": _content_text(fields.get("content"), f"{where}.content", model)}
    calls = fields.get("tool_calls")
    if calls:
        if not isinstance(calls, Sequence) or isinstance(calls, (str, bytes)):
            raise _wrong(f"{where}.tool_calls", f"must be a list of calls, got {calls!r}")
        result["tool_calls"] = [_tool_call(call, f"{where}.tool_calls[{i}]") for i, call in enumerate(calls)]
    return result


def _content_text(content: Any, where: str, model: str) -> str:
    """One string: text parts are joined by newlines, no content is the empty text."""
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, Sequence) or isinstance(content, bytes):
        raise _wrong(where, f"must be a string or a list of parts, got {content!r}")
    return "\n".join(_part_text(part, f"{where}[{i}]", model) for i, part in enumerate(content))


def _part_text(part: Any, where: str, model: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type", "text") if isinstance(part, Mapping) else None
    key = _TEXT_PARTS.get(kind) if isinstance(kind, str) else None
    if key is not None and isinstance(part.get(key), str):
        return str(part[key])
    if isinstance(kind, str) and any(word in kind for word in _MEDIA_WORDS):
        raise _wrong(where, f"has the type {kind!r}, but {model} is not a multimodal model")
    raise _wrong(where, f"must be a text part like {{'type': 'text', 'text': '…'}}, got {part!r}")


def _tool_call(call: Any, where: str) -> Any:
    """OpenAI sends arguments as JSON text; templates expect the object."""
    function = call.get("function") if isinstance(call, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("arguments"), str):
        return call
    try:
        arguments = json.loads(function["arguments"] or "{}")
    except ValueError as error:
        raise _wrong(f"{where}.function.arguments", f"must be JSON text, but {error}") from error
    return {**call, "function": {**function, "arguments": arguments}}


def _wrong(where: str, rule: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{where}` {rule}.", parameter=where)
