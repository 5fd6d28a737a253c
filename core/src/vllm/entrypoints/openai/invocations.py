"""Owns `POST /invocations`, SageMaker's one route: a chat, or a completion, whichever the body is."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from vllm.entrypoints.openai.chat import chat_completions
from vllm.entrypoints.openai.completions import completions
from vllm.entrypoints.openai.large_bodies import LargeBodyRoute
from vllm.entrypoints.openai.protocol.chat import ChatRequest
from vllm.entrypoints.openai.protocol.completions import CompletionRequest
from vllm.entrypoints.openai.text_check import refuse_lone_surrogates
from vllm.entrypoints.openai.validated import validated
from vllm.errors import InvalidRequestError

__all__ = ["router"]

router = APIRouter(dependencies=[Depends(refuse_lone_surrogates)], route_class=LargeBodyRoute)


@router.post("/invocations")
async def invocations(body: dict[str, Any], request: Request) -> Response:
    """`messages` makes it a chat completion, `prompt` a completion."""
    if "messages" in body:
        return await chat_completions(validated(ChatRequest, body), request)
    if "prompt" in body:
        return await completions(validated(CompletionRequest, body), request)
    raise InvalidRequestError("`messages` or `prompt` must be given.", parameter="messages")
