"""Owns the body of `POST /v1/responses`. Items and tools stay plain dicts: `responses_input` reads them, and answers show them again."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from vllm.entrypoints.openai.protocol.common import GenerationRequest, Request

__all__ = ["Reasoning", "ResponsesRequest", "TextConfig", "TextFormat"]


class TextFormat(Request):
    """Which form the text must have; unlike in chats, the schema lies flat."""

    type: Literal["text", "json_object", "json_schema"] = "text"
    name: str | None = None
    description: str | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None


class TextConfig(Request):
    """What the text is like."""

    format: TextFormat | None = None
    verbosity: str | None = None


class Reasoning(Request):
    """How much the model thinks; there are no summaries."""

    effort: str | None = None
    summary: str | None = None


class ResponsesRequest(GenerationRequest):
    """A conversation as a list of items, answered with items."""

    input: str | list[dict[str, Any]]
    instructions: str | None = None
    previous_response_id: str | None = None
    conversation: str | dict[str, Any] | None = None
    prompt: dict[str, Any] | None = None
    max_output_tokens: int | None = None
    store: bool | None = True
    background: bool | None = False

    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = True
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    top_logprobs: int | None = None
    metadata: dict[str, str] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
