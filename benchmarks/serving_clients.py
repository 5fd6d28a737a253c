"""Owns how clients behave: most read to the end; others leave, break off, half-close, read slowly, or keep a connection and say nothing."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import repeat
from urllib.parse import urlsplit

from serving_requests import Asked, any_request, fillers, one_of_each

from vllm.entrypoints.client.http import HttpAnswer, ServerError

__all__ = ["Crowd", "answer_to"]

PATIENCE_s = 180.0
_NO_LINGER = struct.pack("ii", 1, 0)
_SMALL_bytes = 4096


@dataclass(frozen=True, slots=True)
class Connection:
    """One to the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def reset(self) -> None:
        """End it as a client does that crashes: with a reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.writer.transport.abort()

    @property
    def socket(self) -> socket.socket:
        found: socket.socket = self.writer.get_extra_info("socket")
        return found


@dataclass(frozen=True, slots=True)
class Visit:
    """One client with one request, on its connection."""

    connection: Connection
    asked: Asked
    chance: random.Random


@asynccontextmanager
async def connected(url: str, *, buffer_bytes: int | None = None) -> AsyncIterator[Connection]:
    """A connection of its own; `buffer_bytes` bounds what the system takes for a reader that does not read."""
    address = urlsplit(url)
    with socket.socket() as raw:
        if buffer_bytes is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, (address.hostname, address.port))
        reader, writer = await asyncio.open_connection(sock=raw, limit=buffer_bytes or 1 << 16)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()


def raw_request(asked: Asked) -> bytes:
    """As it goes over the wire."""
    head = f"POST {asked.path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(asked.body)}\r\n\r\n"
    return head.encode() + asked.body


async def answer_to(connection: Connection, asked: Asked) -> tuple[int, bytes]:
    """Status and body, read as quickly as they come."""
    connection.writer.write(raw_request(asked))
    answer = HttpAnswer(connection.reader)
    await answer.read_head()
    return answer.status, await answer.read()


def _verdict(asked: Asked, status: int, body: bytes) -> str:
    """What somebody thinks who has read the whole answer."""
    if status != 200:
        return f"status {status}" if asked.is_good or status >= 500 else "refused"
    if not asked.is_good:
        return "wrong request was answered"
    if b'"error":{' in body or b"event: error" in body:
        return "error in the answer"
    return "answered" if not asked.is_stream or _has_end(body) else "stream without end"


def _has_end(body: bytes) -> bool:
    return any(end in body[-4000:] for end in (b"data: [DONE]", b"event: message_stop", b"event: response."))


async def _reads(visit: Visit) -> str:
    return _verdict(visit.asked, *await answer_to(visit.connection, visit.asked))


async def _asks_again(visit: Visit) -> str:
    """Over the same connection, after a while in which it was idle."""
    verdict = await _reads(visit)
    await asyncio.sleep(visit.chance.choice([0, 0.2, 2]))
    return verdict if verdict not in ("answered", "refused") else await _reads(visit)


async def _leaves(visit: Visit) -> str:
    """Closes after some time, wherever the answer is."""
    try:
        await asyncio.wait_for(_reads(visit), visit.chance.choice([0.001, 0.01, 0.1, 0.5, 2]))
    except asyncio.TimeoutError:
        return "left"
    return "left too late"


async def _breaks(visit: Visit) -> str:
    """Resets the connection in the request, or somewhere in its answer."""
    data = raw_request(visit.asked)
    visit.connection.writer.write(data if visit.chance.random() < 0.7 else data[: visit.chance.randrange(len(data))])
    await asyncio.sleep(visit.chance.choice([0, 0.01, 0.1, 0.5]))
    visit.connection.reset()
    return "broke off"


async def _half_closes(visit: Visit) -> str:
    """Says that it will say no more, and waits for the end."""
    visit.connection.writer.write(raw_request(visit.asked))
    visit.connection.writer.write_eof()
    await visit.connection.reader.read()
    return "half-closed"


async def _reads_slowly(visit: Visit) -> str:
    """A piece now and then, sometimes none for a long time; then the rest, or it leaves."""
    visit.connection.writer.write(raw_request(visit.asked))
    answer = HttpAnswer(visit.connection.reader)
    await answer.read_head()
    slow_parts, leaves, body = visit.chance.randint(1, 10), visit.chance.random() < 0.3, b""
    async for part in answer.parts():
        body += part
        if slow_parts:
            slow_parts -= 1
            await asyncio.sleep(visit.chance.choice([0.05, 0.2, 1]))
        elif leaves:
            return "left slowly"
    return _verdict(visit.asked, answer.status, body)


async def _says_nothing(visit: Visit) -> str:
    """Connects, and goes; the server may close first."""
    await asyncio.sleep(visit.chance.choice([0, 1, 3]))
    return "said nothing"


Manner = Callable[[Visit], Awaitable[str]]
_MANNERS: dict[Manner, float] = {
    _reads: 45,
    _asks_again: 8,
    _leaves: 17,
    _breaks: 12,
    _half_closes: 4,
    _reads_slowly: 10,
    _says_nothing: 4,
}
"""Manner -> how often."""
EXPECTED = (
    "answered",
    "refused",
    "left",
    "left too late",
    "broke off",
    "half-closed",
    "left slowly",
    "said nothing",
)


class Crowd:
    """Clients that come, ask something, behave somehow, and go; all drawn from one seed each."""

    def __init__(self, url: str, seed: int) -> None:
        self._url, self._seed, self._presses = url, seed, 0
        self.outcomes: Counter[str] = Counter()
        """How requests ended."""
        self.kinds: Counter[str] = Counter()
        self.surprises: list[str] = []
        """What should not have happened."""

    @property
    def requests(self) -> int:
        """How many have come and gone."""
        return self.outcomes.total()

    async def warm_up(self, at_once: int) -> None:
        """So many clients at once ask one kind of request after the other, and read all: what starts when it is needed is there then."""
        chances = [random.Random(f"{self._seed} {index}") for index in range(at_once)]
        for same_kind in zip(*(one_of_each(chance) for chance in chances), strict=True):
            await asyncio.gather(
                *(self._count(*each) for each in zip(same_kind, repeat(_reads), chances, strict=False))
            )

    async def fill(self, clients: int) -> None:
        """Half of them ask what fills the server's bounded places; the others do as always, so that what is kept lies among the rest."""
        chance = random.Random(self._seed)
        requests = fillers(chance)
        filling = asyncio.gather(*(self._ask_all(requests, chance) for _ in range(clients // 2)))
        await asyncio.gather(filling, self.press(clients - clients // 2, filling.done))

    async def _ask_all(self, requests: Iterator[Asked], chance: random.Random) -> None:
        for asked in requests:
            await self._count(asked, _reads, chance)

    async def press(self, clients: int, is_over: Callable[[], bool]) -> None:
        """So many at a time, until it is over; other requests each time."""
        self._presses += 1
        seeds = [f"{self._seed} {self._presses} {index}" for index in range(clients)]
        await asyncio.gather(*(self._one_after_another(seed, is_over) for seed in seeds))

    async def _one_after_another(self, seed: str, is_over: Callable[[], bool]) -> None:
        chance = random.Random(seed)
        while not is_over():
            manner = chance.choices(list(_MANNERS), weights=list(_MANNERS.values()))[0]
            await self._count(any_request(chance), manner, chance)

    async def _count(self, asked: Asked, manner: Manner, chance: random.Random) -> None:
        outcome = await self._outcome(asked, manner, chance)
        self.outcomes[outcome] += 1
        self.kinds[asked.kind] += 1
        if outcome not in EXPECTED:
            self.surprises.append(f"{manner.__name__[1:]} {asked.path} {asked.body[:300]!r}: {outcome}")

    async def _outcome(self, asked: Asked, manner: Manner, chance: random.Random) -> str:
        is_slow = manner is _reads_slowly
        try:
            async with connected(self._url, buffer_bytes=_SMALL_bytes if is_slow else None) as connection:
                return await asyncio.wait_for(manner(Visit(connection, asked, chance)), PATIENCE_s)
        except asyncio.TimeoutError:
            return "no end"
        except (OSError, ServerError) as error:
            return f"broken: {type(error).__name__}: {error}"
