"""Owns `/tokenize` and `/detokenize`: the model's tokenizer over HTTP."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from vllm.entrypoints.openai.generation import check_model
from vllm.errors import InvalidRequestError
from vllm.inputs import check_token_ids

if TYPE_CHECKING:
    from vllm.engine.async_llm import AsyncLLM
    from vllm.text.tokenizer import Tokenizer

__all__ = ["router"]

router = APIRouter()
INLINE_CHARACTERS = 4096
"""Longer texts are worked on beside the event loop."""


TokenId = Annotated[int, Field(ge=0)]


class TokenizeRequest(BaseModel):
    """A text, or a chat."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())
    model: str | None = None
    prompt: str | None = None
    add_special_tokens: bool | None = None
    """Default: yes for a text; no for a chat, whose template writes them itself."""
    return_token_strs: bool | None = False


class DetokenizeRequest(BaseModel):
    """Token ids."""

    model_config = ConfigDict(extra="ignore", protected_namespaces=())
    model: str | None = None
    tokens: list[TokenId]


@router.post("/tokenize")
async def tokenize(body: TokenizeRequest, request: Request) -> dict[str, Any]:
    """The ids of a text, how many they are, and how many the model can take."""
    engine = _engine(request, body.model)
    tokenizer = engine.get_tokenizer()
    ids = await _beside(len(body.prompt or ""), _encode, tokenizer, body)
    texts = tokenizer.convert_ids_to_tokens(ids) if body.return_token_strs else None
    return {"count": len(ids), "max_model_len": engine.model_config.max_model_len, "tokens": ids, "token_strs": texts}


def _encode(tokenizer: Tokenizer, body: TokenizeRequest) -> list[int]:
    if body.prompt is None:
        raise InvalidRequestError("`prompt` or `messages` must be given.", parameter="prompt")
    return tokenizer.encode(body.prompt, add_special_tokens=body.add_special_tokens is not False)


@router.post("/detokenize")
async def detokenize(body: DetokenizeRequest, request: Request) -> dict[str, str]:
    """The text of ids."""
    engine = _engine(request, body.model)
    if body.tokens:
        check_token_ids(body.tokens, engine.model_config.vocab_size)
    return {"prompt": await _beside(len(body.tokens), engine.get_tokenizer().decode, body.tokens)}


def _engine(request: Request, model: str | None) -> AsyncLLM:
    engine: AsyncLLM = request.app.state.server.engine
    check_model(model, engine.model_config)
    return engine


async def _beside(size: int, call: Any, *args: Any) -> Any:
    """The call's result; what is long runs in a thread."""
    return await asyncio.to_thread(call, *args) if size > INLINE_CHARACTERS else call(*args)
