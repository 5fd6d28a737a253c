"""Owns `POST /v1/chat/completions/batch`: several conversations in one request, answered together."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request, Response

from vllm.entrypoints.openai.chat import ChatJob, chat_job
from vllm.entrypoints.openai.generation import UsageCount
from vllm.entrypoints.openai.large_bodies import LargeBodyRoute
from vllm.entrypoints.openai.prompts import check_number
from vllm.entrypoints.openai.protocol.answers import ChatAnswer, ChatChoice
from vllm.entrypoints.openai.protocol.chat import ChatBatchRequest
from vllm.entrypoints.openai.server_state import state_of
from vllm.entrypoints.openai.streaming import JsonAnswer, answer_unless_gone
from vllm.entrypoints.openai.text_check import refuse_lone_surrogates
from vllm.errors import InvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vllm.outputs import RequestOutput

__all__ = ["router"]

router = APIRouter(dependencies=[Depends(refuse_lone_surrogates)], route_class=LargeBodyRoute)


@router.post("/v1/chat/completions/batch")
async def chat_batch(body: ChatBatchRequest, request: Request) -> Response:
    """Say the next message of each conversation."""
    _check(body)
    return await answer_unless_gone(request.receive, _answer(body, request))


async def _answer(body: ChatBatchRequest, request: Request) -> Response:
    state = state_of(request)
    jobs = [await chat_job(conversation, request, state) for conversation in body.conversations()]
    return JsonAnswer(await _Batch(jobs).answer())


def _check(body: ChatBatchRequest) -> None:
    for name in ("stream", "tools"):
        if getattr(body, name):
            raise InvalidRequestError(
                f"`{name}` cannot be had for a batch of conversations.",
                parameter=name,
                remedy="ask for each conversation alone: /v1/chat/completions",
            )
    if not body.messages:
        raise InvalidRequestError("`messages` must hold at least one conversation.", parameter="messages")
    check_number(len(body.messages), body.n or 1, parameter="messages")


@dataclass(frozen=True, slots=True)
class _Batch:
    """The conversations, each as if it were alone."""

    jobs: Sequence[ChatJob]

    async def answer(self) -> ChatAnswer:
        """One answer; choice `k * n + i` is output `i` of conversation `k`."""
        first = self.jobs[0]
        prompts = [prompt for job in self.jobs for prompt in job.generation.prompts]
        generation = replace(first.generation, prompts=prompts)
        count = UsageCount(tells_cached=first.args.enable_prompt_tokens_details)
        choices: list[ChatChoice] = []
        for number, output in enumerate(await generation.final()):
            count.add(number, output)
            choices += self._choices(number, output)
        model = generation.engine.model_config.served_model_name
        return ChatAnswer(generation.request_id, first.created, model, choices, count.usage())

    def _choices(self, number: int, output: RequestOutput) -> list[ChatChoice]:
        choices = [self.jobs[number].writer.choice(each) for each in output.outputs]
        for choice in choices:
            choice.index += number * len(choices)
        return choices
