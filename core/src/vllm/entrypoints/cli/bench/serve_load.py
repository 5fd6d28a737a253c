"""Owns what `vllm bench serve` sends: prompts of random tokens, one request that tries, then the load."""

from __future__ import annotations

import math
import random
import string
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from tqdm import tqdm

from vllm.entrypoints.cli.bench.serve_options import ServeBenchOptions
from vllm.entrypoints.client.api import ApiClient
from vllm.entrypoints.client.http import ServerError
from vllm.entrypoints.client.load import Load, Planned, ask_all, ask_one, delays_s

__all__ = ["Tokens", "lengths", "load_server", "prompt_ids"]

_PATHS = {"openai": "/v1/completions", "openai-chat": "/v1/chat/completions"}
_SAMPLE = " ".join([*string.ascii_letters, *string.digits, *string.punctuation])
"""What a server tokenises for us to learn some of its tokens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Tokens:
    """Token ids that prompts are drawn from, and how they become text."""

    ids: Sequence[int]
    decode: Callable[[list[int]], Awaitable[str]]


async def load_server(options: ServeBenchOptions) -> Load:
    """Try one request, then send them all. Raises ServerError where there is no server, or where it refuses the first."""
    client = ApiClient(options.url, options.api_key)
    try:
        model = options.model or await client.first_model("/v1/models")
        planned = await _plan(options, client, model)
        path = options.endpoint or _PATHS[options.backend]
        first = await ask_one(client, path, planned[0])
        if not first.is_good:
            raise ServerError(f"The first request, which tries the server, failed: {first.error}")
        return await _measure(options, client, model, planned)
    finally:
        client.close()


async def _measure(options: ServeBenchOptions, client: ApiClient, model: str, planned: list[Planned]) -> Load:
    path = options.endpoint or _PATHS[options.backend]
    at_once = [0.0] * options.num_warmups
    warm_up, planned = planned[: options.num_warmups], planned[options.num_warmups :]
    if warm_up:
        await ask_all(
            client, path, warm_up, waits_s=at_once, max_concurrency=options.max_concurrency, on_end=lambda: None
        )
    waits_s = delays_s(len(planned), options.request_rate, options.burstiness, options.seed)
    with tqdm(total=len(planned), disable=options.disable_tqdm, file=sys.stderr) as bar:
        start_s = time.perf_counter()
        seen = await ask_all(
            client, path, planned, waits_s=waits_s, max_concurrency=options.max_concurrency, on_end=bar.update
        )
        duration_s = time.perf_counter() - start_s
    return Load(model=model, duration_s=duration_s, experiences=seen)


async def _plan(options: ServeBenchOptions, client: ApiClient, model: str) -> list[Planned]:
    tokens = _own_tokens(options.tokenizer) if options.tokenizer else await _servers_tokens(client, model)
    draw = random.Random(options.seed)
    count, ratio = options.num_prompts + options.num_warmups, options.random_range_ratio
    input_lengths = lengths(count, options.random_input_len, ratio, draw)
    output_lengths = lengths(count, options.random_output_len, ratio, draw)
    prefix = draw.choices(tokens.ids, k=options.random_prefix_len)
    planned = []
    for input_tokens, output_tokens in zip(input_lengths, output_lengths, strict=True):
        ids = prefix + prompt_ids(input_tokens, tokens.ids, draw)
        body = await _body(options, model, ids, output_tokens, tokens)
        planned.append(Planned(body=msgspec.json.encode(body), prompt_tokens=len(ids)))
    return planned


async def _body(
    options: ServeBenchOptions, model: str, ids: list[int], output_tokens: int, tokens: Tokens
) -> dict[str, Any]:
    """Completions take token ids as they are; a chat needs text."""
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": output_tokens,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if options.backend == "openai-chat":
        body["messages"] = [{"role": "user", "content": await tokens.decode(ids)}]
    else:
        body["prompt"] = ids
    if options.ignore_eos:
        body["ignore_eos"] = True
    if options.temperature is not None:
        body["temperature"] = options.temperature
    return body | (options.extra_body or {})


def lengths(count: int, mean_tokens: int, range_ratio: float, draw: random.Random) -> list[int]:
    """Whole numbers drawn evenly from mean x (1 - ratio) to mean x (1 + ratio), at least 1."""
    low, high = max(1, math.floor(mean_tokens * (1 - range_ratio))), math.ceil(mean_tokens * (1 + range_ratio))
    return [draw.randint(low, high) for _ in range(count)]


def prompt_ids(length_tokens: int, ids: Sequence[int], draw: random.Random) -> list[int]:
    """Random tokens: that two prompts begin alike is unlikely, so the prefix cache hardly helps."""
    return draw.choices(ids, k=length_tokens)


async def _servers_tokens(client: ApiClient, model: str) -> Tokens:
    """The tokens of a sample text, as a server of vLLM's kind tells them."""
    try:
        sample = {"model": model, "prompt": _SAMPLE, "add_special_tokens": False}
        ids = sorted(set((await client.post("/tokenize", sample))["tokens"]))
    except ServerError as error:
        raise ServerError(
            f"The server does not tell its tokens: {error.what}",
            remedy="give --tokenizer the folder of the model that it serves",
        ) from error

    async def decode(some: list[int]) -> str:
        return str((await client.post("/detokenize", {"model": model, "tokens": some}))["prompt"])

    return Tokens(ids=ids, decode=decode)


def _own_tokens(folder: str) -> Tokens:
    from vllm.text.tokenizer import load_tokenizer

    tokenizer = load_tokenizer(folder)
    special = set(tokenizer.all_special_ids)

    async def decode(some: list[int]) -> str:
        return tokenizer.decode(some)

    return Tokens(ids=[each for each in range(len(tokenizer)) if each not in special], decode=decode)
