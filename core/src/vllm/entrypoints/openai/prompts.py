"""Owns the prompts of a completion: one or many, text or ids, checked as far as the engine does not do it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from vllm import envs
from vllm.errors import InvalidRequestError
from vllm.inputs import check_cache_salt

if TYPE_CHECKING:
    from vllm.engine.async_llm import AsyncLLM
    from vllm.entrypoints.openai.protocol.common import GenerationRequest
    from vllm.entrypoints.openai.protocol.completions import CompletionRequest

__all__ = ["INLINE_CHARACTERS", "check_number", "completion_prompts", "encoded", "engine_prompt", "truncated"]

INLINE_CHARACTERS = 4096
"""Longer texts are tokenised, and their templates rendered, beside the event loop."""


async def completion_prompts(request: CompletionRequest, engine: AsyncLLM) -> list[dict[str, Any]]:
    """Every prompt of the request, as the engine takes it. Raises InvalidRequestError."""
    given = _as_list(request)
    check_number(len(given), request.n or 1, parameter="prompt")
    prompts = []
    for each in given:
        prompts.append(await _prompt(each, request, engine))
        await asyncio.sleep(0)  # a thousand short texts must not hold up other requests' streams
    return prompts


def check_number(prompts: int, n: int, *, parameter: str) -> None:
    """Raise InvalidRequestError where one request asks for more than this server does at once. `parameter` holds the prompts."""
    limit = envs.VLLM_MAX_COMPLETION_PROMPTS
    if prompts > limit:
        raise InvalidRequestError(
            f"There are {prompts} prompts, but at most {limit} may be given (VLLM_MAX_COMPLETION_PROMPTS).",
            parameter=parameter,
        )
    _check_outputs(prompts, n)


def _check_outputs(prompts: int, n: int) -> None:
    """One request must not ask for millions of outputs by two numbers that are each within their limit."""
    limit = envs.VLLM_MAX_N_SEQUENCES
    if prompts > 1 and prompts * n > limit:
        raise InvalidRequestError(
            f"{prompts} prompts with n={n} outputs each are {prompts * n} sequences, but at most {limit} may be asked for.",
            parameter="n",
            remedy="ask for fewer at once (VLLM_MAX_N_SEQUENCES)",
        )


def _as_list(request: CompletionRequest) -> list[str | list[int]]:
    prompt = request.prompt
    if request.prompt_embeds is not None:
        raise InvalidRequestError("Prompts given as embeddings are not supported.", parameter="prompt_embeds")
    if not prompt:
        raise _wrong("`prompt` must be a text or a list of token ids that is not empty, or a list of several.")
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt[0], int):
        return [prompt]
    return list(prompt)


async def _prompt(given: str | list[int], request: CompletionRequest, engine: AsyncLLM) -> dict[str, Any]:
    """The engine tokenises texts, unless the request wants it done its own way."""
    if isinstance(given, str):
        if request.add_special_tokens is not False and request.truncate_prompt_tokens is None:
            return engine_prompt(request, prompt=given)
        token_ids = await encoded(engine, given, add_special_tokens=request.add_special_tokens is not False)
        return engine_prompt(request, prompt=given, prompt_token_ids=truncated(token_ids, request, engine))
    return engine_prompt(request, prompt_token_ids=truncated(given, request, engine))


def engine_prompt(request: GenerationRequest, **parts: Any) -> dict[str, Any]:
    """A prompt with the request's cache salt."""
    if request.cache_salt is not None:
        parts["cache_salt"] = check_cache_salt(request.cache_salt)
    return parts


async def encoded(engine: AsyncLLM, text: str, *, add_special_tokens: bool) -> list[int]:
    """The text's ids; a long text does not hold up the event loop."""
    encode = engine.get_tokenizer().encode
    if len(text) > INLINE_CHARACTERS:
        return await asyncio.to_thread(encode, text, add_special_tokens=add_special_tokens)
    return encode(text, add_special_tokens=add_special_tokens)


def truncated(token_ids: list[int], request: GenerationRequest, engine: AsyncLLM) -> list[int]:
    """The last `truncate_prompt_tokens` ids; -1 keeps what the context holds."""
    keep, context = request.truncate_prompt_tokens, engine.model_config.max_model_len
    if keep is None:
        return token_ids
    if not -1 <= keep <= context or keep == 0:
        raise InvalidRequestError(
            f"`truncate_prompt_tokens` must be -1, or 1 to the context's {context}, got {keep}.",
            parameter="truncate_prompt_tokens",
        )
    return token_ids[-(context if keep == -1 else keep) :]


def _wrong(what: str) -> InvalidRequestError:
    return InvalidRequestError(what, parameter="prompt")
