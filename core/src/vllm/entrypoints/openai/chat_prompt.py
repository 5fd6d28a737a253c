"""Owns the way from a chat's messages to its prompt: which template, which variables, then the tokens."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vllm.entrypoints.openai.prompts import INLINE_CHARACTERS, encoded, engine_prompt, truncated
from vllm.entrypoints.openai.template_helpers import rendered
from vllm.errors import InvalidRequestError
from vllm.text.chat import PreparedChat, prepare_chat

if TYPE_CHECKING:
    from vllm.engine.async_llm import AsyncLLM
    from vllm.entrypoints.openai.protocol.chat import ChatRequest, Tool
    from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["ChatPrompt", "chat_prompt", "template_kwargs"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatPrompt:
    """A rendered conversation."""

    text: str
    engine_prompt: dict[str, Any]


async def chat_prompt(
    body: ChatRequest, engine: AsyncLLM, args: ServerArgs, *, tools: Sequence[Tool], body_bytes: int
) -> ChatPrompt:
    """The prompt of the conversation, rendered in a process beside. Raises InvalidRequestError."""
    if not args.trust_request_chat_template:
        _refuse_template(body)
    if body_bytes > INLINE_CHARACTERS:
        chat = await asyncio.to_thread(_prepared, body, engine, args, tools)
    else:
        chat = _prepared(body, engine, args, tools)
    text = await rendered(chat, is_foreign=_own_template(body) is not None)
    token_ids = await encoded(engine, text, add_special_tokens=bool(body.add_special_tokens))
    return ChatPrompt(
        text=text, engine_prompt=engine_prompt(body, prompt=text, prompt_token_ids=truncated(token_ids, body, engine))
    )


def template_kwargs(body: ChatRequest, args: ServerArgs) -> dict[str, Any]:
    """What the template gets beside messages and tools: the server's, then the request's."""
    kwargs = {**(args.default_chat_template_kwargs or {}), **(body.chat_template_kwargs or {})}
    if body.reasoning_effort is not None:
        kwargs.setdefault("reasoning_effort", body.reasoning_effort)
    if body.documents is not None:
        kwargs["documents"] = body.documents
    return kwargs


def _own_template(body: ChatRequest) -> str | None:
    """The template that the request brings, in either place."""
    return body.chat_template or (body.chat_template_kwargs or {}).get("chat_template")


def _refuse_template(body: ChatRequest) -> None:
    """A template is a program."""
    if _own_template(body) is not None:
        raise InvalidRequestError(
            "`chat_template` is given, but this server does not run templates that come with requests.",
            parameter="chat_template",
            remedy="leave it out, or start the server with --trust-request-chat-template",
        )


def _prepared(body: ChatRequest, engine: AsyncLLM, args: ServerArgs, tools: Sequence[Tool]) -> PreparedChat:
    model = engine.model_config
    kwargs = template_kwargs(body, args)
    return prepare_chat(
        engine.get_tokenizer(),
        body.messages,
        model=model.served_model_name,
        chat_template=body.chat_template or kwargs.pop("chat_template", None) or model.chat_template,
        tools=[tool.model_dump(exclude_unset=True) for tool in tools],
        add_generation_prompt=bool(body.add_generation_prompt),
        continue_final_message=bool(body.continue_final_message),
        template_kwargs=kwargs,
    )
