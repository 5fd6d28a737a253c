"""Owns the bodies of `POST /v1/messages` and `/v1/messages/count_tokens`. Blocks stay plain dicts: `conversation` reads them."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from vllm.entrypoints.openai.protocol.common import GenerationRequest, Request

__all__ = ["CountTokensRequest", "MessagesRequest", "OutputConfig"]


class OutputFormat(Request):
    """Which form the text must have."""

    type: str
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")


class OutputConfig(Request):
    """What the answer is like."""

    format: OutputFormat | None = None
    effort: str | None = None


class CountTokensRequest(GenerationRequest):
    """A conversation. Beside Anthropic's fields there may be vLLM's own for sampling."""

    messages: list[dict[str, Any]]
    system: str | list[dict[str, Any]] | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None
    thinking: dict[str, Any] | None = None
    output_config: OutputConfig | None = None
    chat_template_kwargs: dict[str, Any] | None = None


class MessagesRequest(CountTokensRequest):
    """A conversation and how its next message is to be generated."""

    max_tokens: int
    stop_sequences: list[str] | None = None
    metadata: dict[str, Any] | None = None
