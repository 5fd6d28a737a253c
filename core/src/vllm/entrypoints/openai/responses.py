"""Owns `/v1/responses`: create (whole, streamed, or in the background), retrieve, cancel."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, Request, Response

from vllm.entrypoints.openai.chat import ChatJob, chat_job
from vllm.entrypoints.openai.generation import UsageCount, check_model
from vllm.entrypoints.openai.http_errors import ApiError, error_body, status_of
from vllm.entrypoints.openai.large_bodies import LargeBodyRoute
from vllm.entrypoints.openai.logprobs_format import chat_logprobs
from vllm.entrypoints.openai.output_parts import PartStream, parts_of
from vllm.entrypoints.openai.prompts import encoded
from vllm.entrypoints.openai.protocol.responses import ResponsesRequest
from vllm.entrypoints.openai.responses_input import chat_of, input_items, wants_logprobs
from vllm.entrypoints.openai.responses_output import EventWriter, finished, item_of, new_response, usage_of
from vllm.entrypoints.openai.responses_store import ResponseStore, StoredResponse
from vllm.entrypoints.openai.server_state import state_of
from vllm.entrypoints.openai.streaming import JsonAnswer, StreamEnd, answer_unless_gone, begun
from vllm.entrypoints.openai.text_check import refuse_lone_surrogates
from vllm.errors import InvalidRequestError, VllmError
from vllm.logger import init_logger

if TYPE_CHECKING:
    from vllm.entrypoints.openai.output_parts import Part
    from vllm.entrypoints.openai.protocol.answers import ChatTokenLogprob
    from vllm.entrypoints.openai.responses_input import Item
    from vllm.outputs import CompletionOutput

__all__ = ["router"]

logger = init_logger(__name__)

router = APIRouter(dependencies=[Depends(refuse_lone_surrogates)], route_class=LargeBodyRoute)


@router.post("/v1/responses")
async def create(body: ResponsesRequest, request: Request) -> Response:
    """Answer a conversation of items."""
    return await answer_unless_gone(request.receive, _answer(body, request))


async def _answer(body: ResponsesRequest, request: Request) -> Response:
    job = await _job(body, request)
    if body.background:
        return JsonAnswer(job.begin_in_background())
    if body.stream:
        return await begun(job.events(), StreamEnd(done=b"", error=job.failure_event))
    return JsonAnswer(await job.answer())


@router.get("/v1/responses/{response_id}")
async def retrieve(response_id: str, request: Request, stream: bool = False) -> Response:
    """A response as it now is."""
    if stream:
        raise InvalidRequestError("A stored response cannot be streamed; leave `stream` out.", parameter="stream")
    return JsonAnswer(_store(request).get(response_id).response)


@router.post("/v1/responses/{response_id}/cancel")
async def cancel(response_id: str, request: Request) -> Response:
    """Stop the work on a background response; one that has ended stays as it is."""
    stored = _store(request).get(response_id)
    if stored.task is None:
        raise InvalidRequestError("Only a response made with `background` can be cancelled.", parameter="response_id")
    if not stored.has_ended:
        stored.response = stored.response | {"status": "cancelled"}
        stored.task.cancel()
    return JsonAnswer(stored.response)


def _store(request: Request) -> ResponseStore:
    return state_of(request).responses


async def _job(body: ResponsesRequest, request: Request) -> ResponseJob:
    """The request, checked as far as the engine does not do it. Raises InvalidRequestError and ApiError."""
    state = state_of(request)
    check_model(body.model, state.engine.model_config)
    items = [*_items_before(body, state.responses), *input_items(body)]
    response_id = f"resp_{uuid.uuid4().hex}"
    chat = await chat_job(chat_of(body, items), request, state, request_id=response_id, form_field="text.format")
    generation = chat.generation
    response = new_response(response_id, body, generation.engine.model_config.served_model_name, generation.params)
    return ResponseJob(body=body, chat=chat, items=items, store=state.responses, response=response)


def _items_before(body: ResponsesRequest, store: ResponseStore) -> list[Item]:
    if body.previous_response_id is None:
        return []
    previous = store.get(body.previous_response_id, parameter="previous_response_id")
    if not previous.has_ended:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "The previous response is still being worked on: retrieve it until it is completed.",
            parameter="previous_response_id",
        )
    return previous.conversation


@dataclass(kw_only=True, slots=True)
class ResponseJob:
    """One response on its way."""

    body: ResponsesRequest
    chat: ChatJob
    items: list[Item]
    store: ResponseStore
    response: dict[str, Any]
    writer: EventWriter = field(default_factory=EventWriter)

    async def answer(self) -> dict[str, Any]:
        """All of it at once."""
        self.response = await self._whole()
        self._keep()
        return self.response

    def begin_in_background(self) -> dict[str, Any]:
        """The response, which nothing has been done for yet. Raises QueueFullError."""
        self.response["status"] = "queued"
        stored = StoredResponse(self.response, self.items)
        self.store.put(stored)
        stored.task = asyncio.create_task(self._work_on(stored))
        return self.response

    async def events(self) -> AsyncGenerator[bytes, None]:
        """That it began, its items piece by piece, then all of it."""
        count, writer, parts, reason = UsageCount(tells_cached=True), self.writer, self._part_stream(), None
        has_begun = False
        async with aclosing(self.chat.generation.deltas()) as deltas:
            async for _, output in deltas:
                if not has_begun:
                    has_begun = True
                    yield writer.lifecycle("created", self.response)
                    yield writer.lifecycle("in_progress", self.response)
                count.add(0, output)
                writer.add_logprobs(self._logprobs(output.outputs[0]))
                for step in parts.feed(output.outputs[0]):
                    for each in writer.step(step):
                        yield each
                reason = output.outputs[0].finish_reason
        self.response = finished(
            self.response, writer.items, finish_reason=reason, usage=await self._usage(count, parts.parts)
        )
        self._keep()
        yield writer.lifecycle(self.response["status"], self.response)

    def failure_event(self, error: Exception) -> bytes:
        """The last event of a stream that fails."""
        return self.writer.lifecycle("failed", _failed(self.response | {"output": self.writer.items}, error))

    async def _work_on(self, stored: StoredResponse) -> None:
        try:
            stored.response = await self._whole()
        except Exception as error:
            if not isinstance(error, VllmError):
                logger.exception("A background response failed")
            stored.response = _failed(self.response, error)
        self.store.put(stored)

    async def _whole(self) -> dict[str, Any]:
        (output,) = await self.chat.generation.final()
        count = UsageCount(tells_cached=True)
        count.add(0, output)
        (choice,) = output.outputs
        parts = parts_of(choice, self.chat.readers, parallel_calls=self.chat.plan.parallel_calls)
        logprobs = self._logprobs(choice)
        items = [item_of(part, logprobs if part.kind == "text" else ()) for part in parts]
        usage = await self._usage(count, parts)
        return finished(self.response, items, finish_reason=choice.finish_reason, usage=usage)

    def _keep(self) -> None:
        if self.body.store is not False:
            self.store.put(StoredResponse(self.response, self.items))

    def _part_stream(self) -> PartStream:
        return PartStream(self.chat.readers, parallel_calls=self.chat.plan.parallel_calls)

    async def _usage(self, count: UsageCount, parts: list[Part]) -> dict[str, Any]:
        """Reasoning is counted as it is tokenised anew: a token may hold the end of it and the beginning of the text."""
        thought = "".join([part.text for part in parts if part.kind == "reasoning"])
        tokens = await encoded(self.chat.generation.engine, thought, add_special_tokens=False) if thought else []
        return usage_of(count.usage(), reasoning_tokens=len(tokens))

    def _logprobs(self, output: CompletionOutput) -> list[ChatTokenLogprob]:
        if not wants_logprobs(self.body) or output.logprobs is None:
            return []
        tokenizer = self.chat.generation.engine.get_tokenizer()
        top = self.body.top_logprobs or 0
        return chat_logprobs(output.token_ids, output.logprobs, top=top, as_ids=False, tokenizer=tokenizer).content


def _failed(response: dict[str, Any], error: Exception) -> dict[str, Any]:
    code = "invalid_prompt" if status_of(error) is HTTPStatus.BAD_REQUEST else "server_error"
    told = {"code": code, "message": error_body(error)["error"]["message"]}
    return response | {"status": "failed", "error": told}
