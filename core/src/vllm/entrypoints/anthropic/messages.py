"""Owns `/v1/messages`: the next message whole or streamed, and how many tokens a conversation has."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Depends, Request, Response

from vllm.entrypoints.anthropic.blocks import end_events, message_of, start_event, step_event
from vllm.entrypoints.anthropic.conversation import chat_of, chat_to_count
from vllm.entrypoints.anthropic.errors import AnthropicRoute, error_event
from vllm.entrypoints.anthropic.protocol import CountTokensRequest, MessagesRequest
from vllm.entrypoints.openai.chat import ChatJob, chat_job
from vllm.entrypoints.openai.chat_prompt import chat_prompt
from vllm.entrypoints.openai.chat_tools import tool_plan
from vllm.entrypoints.openai.generation import check_model
from vllm.entrypoints.openai.output_parts import PartStream, parts_of
from vllm.entrypoints.openai.server_state import state_of
from vllm.entrypoints.openai.streaming import JsonAnswer, StreamEnd, answer_unless_gone, begun
from vllm.entrypoints.openai.text_check import refuse_lone_surrogates

__all__ = ["router"]

router = APIRouter(dependencies=[Depends(refuse_lone_surrogates)], route_class=AnthropicRoute)
_END = StreamEnd(done=b"", error=error_event)


@router.post("/v1/messages")
async def messages(body: MessagesRequest, request: Request) -> Response:
    """Say the next message of a conversation."""
    return await answer_unless_gone(request.receive, _answer(body, request))


async def _answer(body: MessagesRequest, request: Request) -> Response:
    message_id = f"msg_{uuid.uuid4().hex}"
    job = await chat_job(
        chat_of(body), request, state_of(request), request_id=message_id, form_field="output_config.format"
    )
    return await begun(_events(job), _END) if body.stream else JsonAnswer(await _whole(job))


@router.post("/v1/messages/count_tokens")
async def count_tokens(body: CountTokensRequest, request: Request) -> Response:
    """How long the prompt would be."""
    return await answer_unless_gone(request.receive, _count(body, request))


async def _count(body: CountTokensRequest, request: Request) -> Response:
    state = state_of(request)
    check_model(body.model, state.engine.model_config)
    chat = chat_to_count(body)
    plan = tool_plan(chat, state.args)
    size = len(await request.body())
    prompt = await chat_prompt(chat, state.engine, state.args, tools=plan.shown, body_bytes=size)
    return JsonAnswer({"input_tokens": len(prompt.engine_prompt["prompt_token_ids"])})


async def _whole(job: ChatJob) -> dict[str, Any]:
    """All of it at once."""
    (output,) = await job.generation.final()
    (choice,) = output.outputs
    parts = parts_of(choice, job.readers, parallel_calls=job.plan.parallel_calls)
    return message_of(
        job.generation.request_id, _model(job), choice, parts, input_tokens=len(output.prompt_token_ids or ())
    )


async def _events(job: ChatJob) -> AsyncGenerator[bytes, None]:
    """Who speaks, the blocks piece by piece, then why it ended."""
    parts = PartStream(job.readers, parallel_calls=job.plan.parallel_calls)
    input_tokens, output_tokens, choice = None, 0, None
    async with aclosing(job.generation.deltas()) as deltas:
        async for _, output in deltas:
            (choice,) = output.outputs
            if input_tokens is None:
                input_tokens = len(output.prompt_token_ids or ())
                yield start_event(job.generation.request_id, _model(job), input_tokens=input_tokens)
            output_tokens += len(choice.token_ids)
            for step in parts.feed(choice):
                yield step_event(step)
    assert choice is not None, "a stream has a last output"
    calls = any(part.kind == "call" for part in parts.parts)
    for each in end_events(choice, calls=calls, input_tokens=input_tokens or 0, output_tokens=output_tokens):
        yield each


def _model(job: ChatJob) -> str:
    return job.generation.engine.model_config.served_model_name
