"""Owns `/tokenize` and `/detokenize`: the model's tokenizer over HTTP."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ConfigDict, Field

from vllm.entrypoints.openai.chat_prompt import chat_prompt
from vllm.entrypoints.openai.generation import check_model
from vllm.entrypoints.openai.large_bodies import LargeBodyRoute
from vllm.entrypoints.openai.prompts import encoded
from vllm.entrypoints.openai.protocol.chat import ChatRequest
from vllm.entrypoints.openai.protocol.common import Request as Body
from vllm.entrypoints.openai.server_state import state_of
from vllm.entrypoints.openai.streaming import JsonAnswer, answer_unless_gone
from vllm.entrypoints.openai.text_check import refuse_lone_surrogates
from vllm.entrypoints.openai.validated import validated
from vllm.errors import InvalidRequestError
from vllm.inputs import check_token_ids

if TYPE_CHECKING:
    from vllm.engine.async_llm import AsyncLLM
    from vllm.text.tokenizer import Tokenizer

__all__ = ["router", "tokenizer_info"]

router = APIRouter(dependencies=[Depends(refuse_lone_surrogates)], route_class=LargeBodyRoute)
INLINE_TOKENS = 4096
"""More are checked and turned into text beside the event loop."""

TokenId = Annotated[int, Field(ge=0)]


class TokenizeRequest(Body):
    """A text, or a chat with all that a chat completion may say."""

    model_config = ConfigDict(extra="allow")
    model: str | None = None
    prompt: str | None = None
    messages: list[dict[str, Any]] | None = None
    add_special_tokens: bool | None = None
    """Default: yes for a text; no for a chat, whose template writes them itself."""
    return_token_strs: bool | None = False


class DetokenizeRequest(Body):
    """Token ids."""

    model: str | None = None
    tokens: list[TokenId]


@router.post("/tokenize")
async def tokenize(body: TokenizeRequest, request: Request) -> Response:
    """The ids of a text, how many they are, and how many the model can take."""
    return await answer_unless_gone(request.receive, _tokenized(body, request))


async def _tokenized(body: TokenizeRequest, request: Request) -> Response:
    engine = _engine(request, body.model)
    tokenizer = engine.get_tokenizer()
    ids = await (_of_text(body, engine) if body.messages is None else _of_chat(body, request))
    texts = await _token_strs(tokenizer, ids) if body.return_token_strs else None
    context = engine.model_config.max_model_len
    return JsonAnswer({"count": len(ids), "max_model_len": context, "tokens": ids, "token_strs": texts})


async def _token_strs(tokenizer: Tokenizer, ids: list[int]) -> list[str]:
    if len(ids) > INLINE_TOKENS:
        return await asyncio.to_thread(tokenizer.convert_ids_to_tokens, ids)
    return tokenizer.convert_ids_to_tokens(ids)


async def _of_text(body: TokenizeRequest, engine: AsyncLLM) -> list[int]:
    if body.prompt is None:
        raise InvalidRequestError("`prompt` or `messages` must be given.", parameter="prompt")
    return await encoded(engine, body.prompt, add_special_tokens=body.add_special_tokens is not False)


async def _of_chat(body: TokenizeRequest, request: Request) -> list[int]:
    chat = validated(ChatRequest, body.model_dump(exclude_unset=True))
    state = state_of(request)
    size = len(await request.body())
    prompt = await chat_prompt(chat, state.engine, state.args, tools=chat.tools or (), body_bytes=size)
    ids: list[int] = prompt.engine_prompt["prompt_token_ids"]
    return ids


@router.post("/detokenize")
async def detokenize(body: DetokenizeRequest, request: Request) -> dict[str, str]:
    """The text of ids."""
    engine = _engine(request, body.model)
    if len(body.tokens) > INLINE_TOKENS:
        return {"prompt": await asyncio.to_thread(_text_of, engine, body.tokens)}
    return {"prompt": _text_of(engine, body.tokens)}


def _text_of(engine: AsyncLLM, token_ids: list[int]) -> str:
    """Raises InvalidRequestError for ids out of the vocabulary."""
    if token_ids:
        check_token_ids(token_ids, engine.model_config.vocab_size)
    return engine.get_tokenizer().decode(token_ids)


async def tokenizer_info(request: Request) -> dict[str, Any]:
    """The tokenizer's own configuration; a route with --enable-tokenizer-info-endpoint."""
    state = state_of(request)
    model = state.engine.model_config
    path = Path(model.tokenizer) / "tokenizer_config.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {**told, "chat_template": model.chat_template or state.engine.get_tokenizer().chat_template}


def _engine(request: Request, model: str | None) -> AsyncLLM:
    engine = state_of(request).engine
    check_model(model, engine.model_config)
    return engine
