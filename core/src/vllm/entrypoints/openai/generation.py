"""Owns running the prompts of one HTTP request on the engine: all of them, or none; whoever leaves takes all with him."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from vllm.entrypoints.openai.form_names import FormNames, in_users_words
from vllm.entrypoints.openai.http_errors import ApiError, model_not_found
from vllm.entrypoints.openai.protocol.answers import PromptTokensDetails, Usage
from vllm.errors import InvalidRequestError

if TYPE_CHECKING:
    from fastapi import Request

    from vllm.config import ModelConfig
    from vllm.engine.async_llm import AsyncLLM
    from vllm.engine.output_stream import OutputStream
    from vllm.entrypoints.openai.protocol.common import GenerationRequest
    from vllm.entrypoints.openai.server_args import ServerArgs
    from vllm.outputs import RequestOutput
    from vllm.sampling_params import SamplingParams

__all__ = ["Generation", "UsageCount", "check_model", "request_id_of", "usage_in_stream"]

MAX_ID_characters = 256
_serials = itertools.count()


def check_model(name: str | None, model: ModelConfig) -> None:
    """Raise the 404 for a model that is not served; no name means the one that is."""
    if name and name not in (model.served_model_name, *model.served_model_aliases):
        raise model_not_found(name)


def request_id_of(kind: str, request: Request, body: GenerationRequest) -> str:
    """The id that the client sees: its own, or a new one. Raises InvalidRequestError for one that would spoil a log or every event."""
    given = request.headers.get("x-request-id") or body.request_id or uuid.uuid4().hex
    if len(given) > MAX_ID_characters or not given.isprintable():
        raise InvalidRequestError(
            f"A request id must be at most {MAX_ID_characters} characters that can be printed, got {given[:40]!r}.",
            parameter="request_id",
        )
    return f"{kind}-{given}"


def usage_in_stream(body: GenerationRequest, args: ServerArgs) -> tuple[bool, bool]:
    """Whether each event tells the usage so far, and whether a last one tells it all."""
    options = body.stream_options
    tells_last = args.enable_force_include_usage or bool(options and options.include_usage)
    return tells_last and bool(options and options.continuous_usage_stats), tells_last


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """One HTTP request's prompts with their parameters."""

    engine: AsyncLLM
    request_id: str
    """As the client sees it."""
    prompts: Sequence[dict[str, Any]]
    params: SamplingParams
    priority: int = 0
    form_names: FormNames = field(default_factory=dict)
    """By which names the client hears of a form that cannot be."""

    async def final(self) -> list[RequestOutput]:
        """Each prompt's output, once all have ended. Nothing of the request is left behind, however this ends."""
        ids = self._engine_ids()
        try:
            streams = await self._start(ids)
            return [_checked(await stream.get()) for stream in streams]
        finally:
            await self.engine.abort(ids)

    async def deltas(self) -> AsyncGenerator[tuple[int, RequestOutput], None]:
        """What is new, with the number of its prompt, until all have ended; leaving early aborts all."""
        ids = self._engine_ids()
        try:
            streams = await self._start(ids)
            outputs = _deltas_of_one(streams[0]) if len(streams) == 1 else _deltas_of_many(streams)
            async with aclosing(outputs):
                async for index, output in outputs:
                    yield index, _checked(output)
        finally:
            await self.engine.abort(ids)

    async def _start(self, ids: Sequence[str]) -> list[OutputStream]:
        streams = []
        for request_id, prompt in zip(ids, self.prompts, strict=True):
            with in_users_words(self.form_names):
                streams.append(await self.engine.add_request(request_id, prompt, self.params, priority=self.priority))
            if len(ids) > 1:
                await asyncio.sleep(0)  # a thousand prompts must not hold up other requests' streams
        return streams

    def _engine_ids(self) -> list[str]:
        """The client's id in front, for the log; a number of ours behind, since clients use their ids again."""
        return [f"{self.request_id}-{index}-{next(_serials):x}" for index in range(len(self.prompts))]


async def _deltas_of_one(stream: OutputStream) -> AsyncGenerator[tuple[int, RequestOutput], None]:
    finished = False
    while not finished:
        output = await stream.get()
        finished = output.finished
        yield 0, output


async def _deltas_of_many(streams: Sequence[OutputStream]) -> AsyncGenerator[tuple[int, RequestOutput], None]:
    """As they come. Each stream has one output on its way at most, so that a slow reader holds no more than that."""
    waiting = {asyncio.ensure_future(stream.get()): index for index, stream in enumerate(streams)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                index = waiting.pop(future)
                output = future.result()
                if not output.finished:
                    waiting[asyncio.ensure_future(streams[index].get())] = index
                yield index, output
    finally:
        for future in waiting:
            future.cancel()


def _checked(output: RequestOutput) -> RequestOutput:
    """Raise what an output that ended with an error means to the client."""
    for each in output.outputs:
        if each.finish_reason == "error":
            raise ApiError(
                HTTPStatus.INTERNAL_SERVER_ERROR, "The request failed while it was generated; the log says why."
            )
    return output


class UsageCount:
    """Tokens of one HTTP request so far."""

    def __init__(self, *, tells_cached: bool, hides_output: bool = False) -> None:
        """`hides_output`: the client asked for no output, whatever the engine generated."""
        self._tells_cached = tells_cached
        self._hides_output = hides_output
        self._prompt_tokens: dict[int, int] = {}
        self._cached_tokens: dict[int, int] = {}
        self._completion_tokens = 0

    def add_prompt(self, prompt: int, output: RequestOutput) -> None:
        """Count a prompt, once however often it is told."""
        self._prompt_tokens[prompt] = len(output.prompt_token_ids or ())
        if output.num_cached_tokens is not None:
            self._cached_tokens[prompt] = output.num_cached_tokens

    def add(self, prompt: int, output: RequestOutput) -> None:
        """Count a prompt and what is new of its outputs."""
        self.add_prompt(prompt, output)
        if not self._hides_output:
            self._completion_tokens += sum([len(each.token_ids) for each in output.outputs])

    def usage(self) -> Usage:
        """As the client sees it."""
        prompt_tokens = sum(self._prompt_tokens.values())
        details = PromptTokensDetails(sum(self._cached_tokens.values())) if self._tells_cached else None
        return Usage(prompt_tokens, prompt_tokens + self._completion_tokens, self._completion_tokens, details)
