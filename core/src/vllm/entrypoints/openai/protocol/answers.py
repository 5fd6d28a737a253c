"""Owns what completions and chat completions answer, whole and in chunks. msgspec writes it: a stream encodes one of these per token.

Fields that are `UNSET` do not appear; whole answers show what is not there as null, as vLLM's do. Names are OpenAI's, then vLLM's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, Struct, UnsetType, field

__all__ = [
    "ChatAnswer",
    "ChatChoice",
    "ChatChunk",
    "ChatChunkChoice",
    "ChatDelta",
    "ChatLogprobs",
    "ChatMessage",
    "ChatTokenLogprob",
    "CompletionAnswer",
    "CompletionChoice",
    "CompletionLogprobs",
    "FunctionCall",
    "FunctionCallDelta",
    "PromptTokensDetails",
    "TokenLogprob",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
]


class PromptTokensDetails(Struct):
    """Where the prompt's tokens came from."""

    cached_tokens: int


class Usage(Struct):
    """Tokens of all prompts and all outputs."""

    prompt_tokens: int
    total_tokens: int
    completion_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None


# ---- completions


class CompletionLogprobs(Struct):
    """One entry per token; a prompt's first token has no prediction."""

    text_offset: list[int]
    token_logprobs: list[float | None]
    tokens: list[str]
    top_logprobs: list[dict[str, float] | None]


class CompletionChoice(Struct):
    """One output, or what is new of it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: Sequence[int] | UnsetType | None = UNSET
    prompt_token_ids: Sequence[int] | UnsetType | None = UNSET
    prompt_logprobs: list[Any] | UnsetType | None = UNSET


class CompletionAnswer(Struct):
    """The answer of `/v1/completions`, and each chunk of its stream."""

    id: str
    created: int
    model: str
    choices: list[CompletionChoice]
    usage: Usage | UnsetType = UNSET
    object: str = "text_completion"


# ---- chat completions


class TokenLogprob(Struct):
    """A token that might have come."""

    token: str
    logprob: float
    bytes: list[int]


class ChatTokenLogprob(Struct):
    """The token that came, and the most likely ones."""

    token: str
    logprob: float
    bytes: list[int]
    top_logprobs: list[TokenLogprob]


class ChatLogprobs(Struct):
    """One entry per token."""

    content: list[ChatTokenLogprob]


class FunctionCall(Struct):
    """A function and its arguments as JSON text."""

    name: str
    arguments: str


class ToolCall(Struct):
    """A call that the client is to make."""

    id: str
    function: FunctionCall
    type: str = "function"


class FunctionCallDelta(Struct, omit_defaults=True):
    """The name once, then the arguments in pieces."""

    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(Struct):
    """A piece of the call number `index`; the first has its id and name."""

    index: int
    function: FunctionCallDelta
    id: str | UnsetType = UNSET
    type: str | UnsetType = UNSET


class ChatMessage(Struct):
    """What the model said."""

    role: str
    content: str | None
    refusal: str | None = None
    tool_calls: list[ToolCall] = field(default_factory=list)
    reasoning: str | None = None


class ChatChoice(Struct):
    """One of the `n` outputs."""

    index: int
    message: ChatMessage
    logprobs: ChatLogprobs | None
    finish_reason: str | None
    stop_reason: int | str | None
    token_ids: Sequence[int] | None = None


class ChatAnswer(Struct):
    """The answer of `/v1/chat/completions`."""

    id: str
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    prompt_logprobs: list[Any] | UnsetType | None = UNSET
    prompt_token_ids: Sequence[int] | UnsetType = UNSET
    object: str = "chat.completion"


class ChatDelta(Struct, omit_defaults=True):
    """What is new of a message."""

    role: str | None = None
    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChatChunkChoice(Struct):
    """What is new of one of the `n` outputs."""

    index: int
    delta: ChatDelta
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None
    stop_reason: int | str | UnsetType | None = UNSET
    token_ids: Sequence[int] | UnsetType = UNSET


class ChatChunk(Struct):
    """One event of a chat's stream."""

    id: str
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Usage | UnsetType = UNSET
    prompt_token_ids: Sequence[int] | UnsetType = UNSET
    object: str = "chat.completion.chunk"
