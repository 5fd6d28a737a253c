"""Owns the way from another API's request to a chat: sampling fields go over as they are, the rest its route has translated."""

from __future__ import annotations

from typing import Any

from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from vllm.entrypoints.openai.protocol.chat import ChatRequest
from vllm.entrypoints.openai.protocol.common import GenerationRequest

__all__ = ["as_chat"]

_OF_CHATS_ALONE = frozenset({"n", "stream_options", "response_format", "max_tokens", "use_beam_search", "request_id"})
_SHARED = GenerationRequest.model_fields.keys() - _OF_CHATS_ALONE


def as_chat(body: GenerationRequest, **fields: Any) -> ChatRequest:
    """The chat that the request means. `fields` are the chat's own. Raises RequestValidationError."""
    shared = {name: getattr(body, name) for name in _SHARED & body.model_fields_set}
    try:
        return ChatRequest.model_validate(shared | fields)
    except ValidationError as error:
        raise RequestValidationError([{**each, "loc": ("body", *each["loc"])} for each in error.errors()]) from error
