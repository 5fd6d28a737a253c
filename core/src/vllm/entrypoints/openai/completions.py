"""Owns `POST /v1/completions`: prompts in, their continuations out, whole or as a stream."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Request, Response
from msgspec import UNSET, UnsetType

from vllm.entrypoints.openai.beams import with_beams
from vllm.entrypoints.openai.completion_choices import ChoicesWriter, shows_prompt_only
from vllm.entrypoints.openai.form_names import form_names
from vllm.entrypoints.openai.generation import Generation, UsageCount, check_model, request_id_of, usage_in_stream
from vllm.entrypoints.openai.large_bodies import LargeBodyRoute, beside_if_large
from vllm.entrypoints.openai.prompts import completion_prompts
from vllm.entrypoints.openai.protocol.answers import CompletionAnswer, CompletionChoice, Usage
from vllm.entrypoints.openai.protocol.completions import DEFAULT_MAX_TOKENS, CompletionRequest
from vllm.entrypoints.openai.sampling_from_request import request_params
from vllm.entrypoints.openai.server_state import ServerState, state_of
from vllm.entrypoints.openai.streaming import JsonAnswer, answer_unless_gone, begun, event
from vllm.entrypoints.openai.text_check import refuse_lone_surrogates
from vllm.errors import InvalidRequestError

if TYPE_CHECKING:
    from vllm.config import ModelConfig
    from vllm.sampling_params import SamplingParams

__all__ = ["router"]

router = APIRouter(dependencies=[Depends(refuse_lone_surrogates)], route_class=LargeBodyRoute)


@router.post("/v1/completions")
async def completions(body: CompletionRequest, request: Request) -> Response:
    """Continue one or several prompts."""
    return await answer_unless_gone(request.receive, _answer(body, request))


async def _answer(body: CompletionRequest, request: Request) -> Response:
    job = await _job(body, request, state_of(request))
    return await begun(job.events()) if body.stream else JsonAnswer(await job.answer())


async def _job(body: CompletionRequest, request: Request, state: ServerState) -> _Job:
    """The request, checked as far as the engine does not do it. Raises InvalidRequestError and ApiError."""
    model = state.engine.model_config
    check_model(body.model, model)
    if body.suffix:
        raise InvalidRequestError("`suffix` is not supported: text is only continued.", parameter="suffix")
    params = await beside_if_large(request, _params, body, model)
    generation = Generation(
        engine=state.engine,
        request_id=request_id_of("cmpl", request, body),
        prompts=await completion_prompts(body, state.engine),
        params=params,
        priority=body.priority,
        form_names=form_names(body, "response_format"),
    )
    return _Job(body=body, state=state, generation=with_beams(generation, body), created=int(time.time()))


def _params(body: CompletionRequest, model: ModelConfig) -> SamplingParams:
    """The echo of a prompt needs its log-probabilities where the output's are wanted."""
    wanted = DEFAULT_MAX_TOKENS if body.max_tokens is None else body.max_tokens
    max_tokens = 1 if shows_prompt_only(body) else wanted
    params = request_params(body, model, max_tokens=max_tokens, logprobs=body.logprobs)
    if body.echo and params.prompt_logprobs is None:
        params.prompt_logprobs = params.logprobs
    return params


@dataclass(frozen=True, kw_only=True, slots=True)
class _Job:
    """One request on its way."""

    body: CompletionRequest
    state: ServerState
    generation: Generation
    created: int

    async def answer(self) -> CompletionAnswer:
        """All of it at once."""
        count = self._usage_count()
        choices: list[CompletionChoice] = []
        for prompt, output in enumerate(await self.generation.final()):
            count.add(prompt, output)
            choices += self._writer(prompt).whole_choices(output)
        return self._envelope(choices, count.usage())

    async def events(self) -> AsyncGenerator[bytes, None]:
        """One event per piece of text."""
        tells_each, tells_last = usage_in_stream(self.body, self.state.args)
        count, writers = self._usage_count(), list(map(self._writer, range(len(self.generation.prompts))))
        async with aclosing(self.generation.deltas()) as deltas:
            async for prompt, output in deltas:
                count.add(prompt, output)
                for choice in writers[prompt].choices(output):
                    yield event(self._envelope([choice], count.usage() if tells_each else UNSET))
        if tells_last:
            yield event(self._envelope([], count.usage()))

    def _usage_count(self) -> UsageCount:
        return UsageCount(
            tells_cached=self.state.args.enable_prompt_tokens_details, hides_output=shows_prompt_only(self.body)
        )

    def _writer(self, prompt: int) -> ChoicesWriter:
        as_ids = self.body.return_tokens_as_token_ids
        return ChoicesWriter(
            self.body,
            prompt,
            self.generation.engine.get_tokenizer(),
            as_ids=self.state.args.return_tokens_as_token_ids if as_ids is None else as_ids,
        )

    def _envelope(self, choices: list[CompletionChoice], usage: Usage | UnsetType = UNSET) -> CompletionAnswer:
        model = self.generation.engine.model_config.served_model_name
        return CompletionAnswer(self.generation.request_id, self.created, model, choices, usage)
