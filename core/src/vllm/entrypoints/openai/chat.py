"""Owns `POST /v1/chat/completions`: a conversation in, the next message out, whole or as a stream."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request, Response
from msgspec import UNSET, UnsetType

from vllm.entrypoints.openai.beams import with_beams
from vllm.entrypoints.openai.chat_choices import ChatWriter
from vllm.entrypoints.openai.chat_prompt import chat_prompt, template_kwargs
from vllm.entrypoints.openai.chat_tools import output_readers, tool_plan
from vllm.entrypoints.openai.form_names import FORCED_CALL, form_names
from vllm.entrypoints.openai.generation import Generation, UsageCount, check_model, request_id_of, usage_in_stream
from vllm.entrypoints.openai.large_bodies import LargeBodyRoute, beside_if_large
from vllm.entrypoints.openai.logprobs_format import prompt_logprobs
from vllm.entrypoints.openai.protocol.answers import ChatAnswer, ChatChunk, ChatChunkChoice, Usage
from vllm.entrypoints.openai.protocol.chat import ChatRequest
from vllm.entrypoints.openai.sampling_from_request import request_params
from vllm.entrypoints.openai.server_state import ServerState, state_of
from vllm.entrypoints.openai.streaming import JsonAnswer, answer_unless_gone, begun, event
from vllm.entrypoints.openai.text_check import refuse_lone_surrogates
from vllm.errors import InvalidRequestError

if TYPE_CHECKING:
    from vllm.entrypoints.openai.chat_tools import OutputReaders, ToolPlan
    from vllm.entrypoints.openai.server_args import ServerArgs
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams

__all__ = ["ChatJob", "chat_job", "router"]

router = APIRouter(dependencies=[Depends(refuse_lone_surrogates)], route_class=LargeBodyRoute)


@router.post("/v1/chat/completions")
async def chat_completions(body: ChatRequest, request: Request) -> Response:
    """Say the next message of a conversation."""
    return await answer_unless_gone(request.receive, _answer(body, request))


async def _answer(body: ChatRequest, request: Request) -> Response:
    job = await chat_job(body, request, state_of(request))
    return await begun(job.events()) if body.stream else JsonAnswer(await job.answer())


async def chat_job(
    body: ChatRequest,
    request: Request,
    state: ServerState,
    *,
    request_id: str | None = None,
    form_field: str = "response_format",
) -> ChatJob:
    """The request, checked as far as the engine does not do it. Raises InvalidRequestError and ApiError.

    `form_field`: what the client's API calls `response_format`.
    """
    engine, args = state.engine, state.args
    check_model(body.model, engine.model_config)
    _check_logprobs(body)
    plan = tool_plan(body, args)
    params = await beside_if_large(request, _params, body, state, plan)
    prompt = await chat_prompt(body, engine, args, tools=plan.shown, body_bytes=len(await request.body()))
    tokenizer = engine.get_tokenizer()
    readers = output_readers(
        body, args, plan, prompt_text=prompt.text, kwargs=template_kwargs(body, args), tokenizer=tokenizer
    )
    generation = Generation(
        engine=engine,
        request_id=request_id or request_id_of("chatcmpl", request, body),
        prompts=[prompt.engine_prompt],
        params=readers.adjusted(params),
        priority=body.priority,
        form_names=FORCED_CALL if plan.is_forced else form_names(body, form_field),
    )
    as_ids = body.return_tokens_as_token_ids
    return ChatJob(
        body=body,
        args=args,
        plan=plan,
        readers=readers,
        writer=ChatWriter(
            body,
            plan,
            readers,
            tokenizer,
            role=_role(body, args),
            as_ids=args.return_tokens_as_token_ids if as_ids is None else as_ids,
        ),
        generation=with_beams(generation, body),
        created=int(time.time()),
    )


def _params(body: ChatRequest, state: ServerState, plan: ToolPlan) -> SamplingParams:
    return request_params(
        body,
        state.engine.model_config,
        max_tokens=body.max_tokens,
        logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        is_free=plan.is_forced,
    )


def _check_logprobs(body: ChatRequest) -> None:
    if body.top_logprobs and not body.logprobs:
        raise InvalidRequestError("`top_logprobs` needs `logprobs` to be true.", parameter="top_logprobs")


def _role(body: ChatRequest, args: ServerArgs) -> str:
    """Who speaks: the server's role, or that of the message which is continued."""
    if body.add_generation_prompt or not body.messages:
        return args.response_role
    return str(body.messages[-1].get("role", args.response_role))


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatJob:
    """One conversation on its way."""

    body: ChatRequest
    args: ServerArgs
    plan: ToolPlan
    readers: OutputReaders
    writer: ChatWriter
    generation: Generation
    created: int

    async def answer(self) -> ChatAnswer:
        """All of it at once."""
        (output,) = await self.generation.final()
        count = self._usage_count()
        count.add(0, output)
        answer = ChatAnswer(
            self.generation.request_id,
            self.created,
            self._model,
            [self.writer.choice(each) for each in output.outputs],
            count.usage(),
        )
        if output.prompt_logprobs is not None:
            answer.prompt_logprobs = prompt_logprobs(output.prompt_logprobs)
        if self.body.return_token_ids:
            answer.prompt_token_ids = output.prompt_token_ids or []
        return answer

    async def events(self) -> AsyncGenerator[bytes, None]:
        """Who speaks, then one event per piece of text."""
        tells_each, tells_last = usage_in_stream(self.body, self.args)
        count, has_begun = self._usage_count(), False
        async with aclosing(self.generation.deltas()) as deltas:
            async for _, output in deltas:
                if not has_begun:
                    has_begun = True
                    for first in self._first_chunks(output, count if tells_each else None):
                        yield event(first)
                count.add(0, output)
                usage = count.usage() if tells_each else UNSET
                for choice in map(self.writer.delta, output.outputs):
                    if choice is not None:
                        yield event(self._chunk([choice], usage))
        if tells_last:
            yield event(self._chunk([], count.usage()))

    def _first_chunks(self, output: RequestOutput, count: UsageCount | None) -> list[ChatChunk]:
        """One per output, before its text."""
        if count is not None:
            count.add_prompt(0, output)
        usage = UNSET if count is None else count.usage()
        chunks = [self._chunk([choice], usage) for choice in self.writer.first_deltas()]
        if self.body.return_token_ids:
            for chunk in chunks:
                chunk.prompt_token_ids = output.prompt_token_ids or []
        return chunks

    def _chunk(self, choices: list[ChatChunkChoice], usage: Usage | UnsetType) -> ChatChunk:
        return ChatChunk(self.generation.request_id, self.created, self._model, choices, usage)

    def _usage_count(self) -> UsageCount:
        return UsageCount(tells_cached=self.args.enable_prompt_tokens_details)

    @property
    def _model(self) -> str:
        return self.generation.engine.model_config.served_model_name
