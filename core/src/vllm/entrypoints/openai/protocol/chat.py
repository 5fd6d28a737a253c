"""Owns the body of `POST /v1/chat/completions`. Messages stay plain dicts: which roles and fields there are is the template's business."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from vllm.entrypoints.openai.protocol.common import GenerationRequest, Request

__all__ = ["ChatBatchRequest", "ChatRequest", "NamedTool", "Tool"]


class Function(Request):
    """A function that the model may call; fields of the client's own reach the template."""

    model_config = ConfigDict(extra="allow")

    name: str = Field(min_length=1)
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(Request):
    """A tool. Functions are the only kind."""

    model_config = ConfigDict(extra="allow")

    type: Literal["function"] = "function"
    function: Function


class FunctionName(Request):
    """Which function."""

    name: str


class NamedTool(Request):
    """`tool_choice`: this function and no other."""

    type: Literal["function"] = "function"
    function: FunctionName


class ChatFields(GenerationRequest):
    """A chat's fields besides its messages."""

    max_completion_tokens: int | None = None
    """The newer name of `max_tokens`; it wins."""
    logprobs: bool | None = False
    top_logprobs: int | None = None
    echo: bool | None = False

    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = True
    include_reasoning: bool | None = True
    reasoning_effort: str | None = None

    chat_template: str | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = True
    continue_final_message: bool | None = False
    documents: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _max_tokens_by_both_names(self) -> ChatFields:
        if self.max_completion_tokens is not None:
            self.max_tokens = self.max_completion_tokens
        return self


class ChatRequest(ChatFields):
    """One conversation, answered `n` times."""

    messages: list[dict[str, Any]]


class ChatBatchRequest(ChatFields):
    """Several conversations, each answered `n` times."""

    messages: list[list[dict[str, Any]]]

    def conversations(self) -> list[ChatRequest]:
        """Each conversation as a request of its own."""
        fields = {name: getattr(self, name) for name in self.model_fields_set}
        return [ChatRequest.model_construct(**(fields | {"messages": messages})) for messages in self.messages]
