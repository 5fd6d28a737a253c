"""Owns load on a server: when requests are sent, and what each one experienced."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import msgspec

from vllm.entrypoints.client.api import ApiClient
from vllm.errors import VllmError

__all__ = ["Experience", "Load", "Planned", "ask_all", "ask_one", "delays_s"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Planned:
    """One request: its JSON body, and the prompt's tokens as far as we know them."""

    body: bytes
    prompt_tokens: int


@dataclass(kw_only=True, slots=True)
class Experience:
    """What one request experienced. Times are of `time.perf_counter`."""

    start_s: float
    prompt_tokens: int
    output_tokens: int = 0
    token_times_s: list[float] = field(default_factory=list)
    """When each piece of the answer came."""
    text: str = ""
    error: str = ""
    """What went wrong; empty if nothing did."""

    @property
    def is_good(self) -> bool:
        """Whether there is an answer."""
        return not self.error

    @property
    def first_token_s(self) -> float:
        """Seconds to the first piece."""
        return self.token_times_s[0] - self.start_s

    @property
    def latency_s(self) -> float:
        """Seconds to the last piece."""
        return self.token_times_s[-1] - self.start_s

    @property
    def gaps_s(self) -> list[float]:
        """Seconds between pieces."""
        times_s = self.token_times_s
        return [later - sooner for sooner, later in itertools.pairwise(times_s)]

    @property
    def per_token_s(self) -> float | None:
        """Seconds per token after the first; None for a single one."""
        if self.output_tokens < 2:
            return None
        return (self.latency_s - self.first_token_s) / (self.output_tokens - 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Load:
    """One measurement."""

    model: str
    duration_s: float
    experiences: Sequence[Experience]


class _Delta(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    role: str | None = None


class _Choice(msgspec.Struct):
    text: str | None = None
    delta: _Delta | None = None

    def said(self) -> str | None:
        """What is new; None where a chat's first event only says who speaks."""
        if self.delta is None:
            return self.text or ""
        said = self.delta.content or self.delta.reasoning or ""
        return None if self.delta.role and not said else said


class _Usage(msgspec.Struct):
    completion_tokens: int | None = None
    prompt_tokens: int | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_decode = msgspec.json.Decoder(_Chunk).decode


async def ask_one(client: ApiClient, path: str, planned: Planned) -> Experience:
    """Send one request and read its stream. Failures are told in the experience."""
    seen = Experience(start_s=time.perf_counter(), prompt_tokens=planned.prompt_tokens)
    pieces: list[str] = []
    try:
        async with aclosing(client.events(path, planned.body)) as events:
            async for data in events:
                _take(_decode(data), seen, pieces)
        if not seen.token_times_s:
            seen.error = "the answer holds no token"
    except (VllmError, OSError, msgspec.DecodeError) as error:
        seen.error = str(error)
    seen.text = "".join(pieces)
    return seen


def _take(chunk: _Chunk, seen: Experience, pieces: list[str]) -> None:
    """Note one event. Servers that tell no usage have a token per event."""
    if chunk.error is not None:
        seen.error = str(chunk.error)
    said = chunk.choices[0].said() if chunk.choices else None
    if said is not None:
        seen.token_times_s.append(time.perf_counter())
        seen.output_tokens += 1
        pieces.append(said)
    if chunk.usage is not None:
        seen.output_tokens = chunk.usage.completion_tokens or seen.output_tokens
        seen.prompt_tokens = chunk.usage.prompt_tokens or seen.prompt_tokens


def delays_s(count: int, rate_per_s: float, burstiness: float, seed: int) -> list[float]:
    """Seconds before each request: gamma-distributed with the mean 1/rate. The first does not wait."""
    if rate_per_s == float("inf"):
        return [0.0] * count
    draw = random.Random(seed)
    return [0.0] + [draw.gammavariate(burstiness, 1 / (rate_per_s * burstiness)) for _ in range(count - 1)]


async def ask_all(
    client: ApiClient,
    path: str,
    planned: Sequence[Planned],
    *,
    waits_s: Sequence[float],
    max_concurrency: int | None,
    on_end: Callable[[], object],
) -> list[Experience]:
    """Every request at its time, `max_concurrency` of them under way at most; experiences in the order of `planned`."""
    places = asyncio.Semaphore(max_concurrency or len(planned))

    async def one(request: Planned) -> Experience:
        async with places:
            seen = await ask_one(client, path, request)
        on_end()
        return seen

    tasks = [asyncio.create_task(one(request)) async for request in _in_time(planned, waits_s)]
    return list(await asyncio.gather(*tasks))


async def _in_time(planned: Sequence[Planned], waits_s: Sequence[float]) -> AsyncIterator[Planned]:
    """Each request when it is due: counted from the start, so that lateness does not add up."""
    due_s = time.perf_counter()
    for request, wait_s in zip(planned, waits_s, strict=True):
        due_s += wait_s
        if (left_s := due_s - time.perf_counter()) > 0:
            await asyncio.sleep(left_s)
        yield request
