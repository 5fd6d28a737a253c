"""What is left after clients went, in a server of its own processes: nothing runs, no block is in use, no descriptor is open."""

from __future__ import annotations

import asyncio
import operator
import random
import re
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from urllib.parse import urlsplit

import httpx

from core.tests.serving.spawned import Spawned, raw_request

ENDLESS = {"prompt": "Count: 1 2 3", "max_tokens": 1900, "ignore_eos": True}
PATIENCE_s = 30.0


def at_rest(server: Spawned) -> dict[str, float]:
    """Running, waiting and cache use, once they are zero; else what they are when patience ends."""
    deadline_s = time.monotonic() + PATIENCE_s
    with server.client() as client:
        while True:
            text = client.get("/metrics").text
            names = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")
            values = {name: float(re.search(rf"^vllm:{name}{{.*}} (.*)$", text, re.M)[1]) for name in names}  # type: ignore[index]
            values["under way"] = client.get("/load").json()["server_load"]
            if not any(values.values()) or time.monotonic() > deadline_s:
                return values


@contextmanager
def nothing_left(server: Spawned) -> Iterator[None]:
    """When what is inside has happened, the server comes to rest, with no more descriptors than before, and has not complained.

    No output came to its end by itself meanwhile: those were ended that somebody had begun.
    """
    assert not any(at_rest(server).values())
    before, log, ended = server.descriptors(), len(server.lines), server.ended("length", "stop")
    yield
    assert not any(at_rest(server).values()), at_rest(server)
    assert server.ended("length", "stop") == ended
    deadline_s = time.monotonic() + PATIENCE_s
    while any(map(operator.gt, after := server.descriptors(), before)) and time.monotonic() < deadline_s:
        at_rest(server)
    assert not any(map(operator.gt, after, before)), (after, before)
    assert not [line for line in server.lines[log:] if "ERROR" in line]


async def _cancelled_somewhere(client: httpx.AsyncClient, chance: random.Random) -> None:
    said = "Count: 1 2 3 " * chance.randint(1, 40)
    path, body = chance.choice(
        [("/v1/completions", {"prompt": [said] * chance.choice([1, 1, 3])}), ("/v1/chat/completions", _user_says(said))]
    )
    body = ENDLESS | body | {"stream": chance.random() < 0.7, "n": chance.choice([1, 1, 3])}
    with suppress(asyncio.TimeoutError, httpx.HTTPError):
        await asyncio.wait_for(_read(client, path, body), chance.choice([0.001, 0.01, 0.1, 0.5, 1.0]))


def _user_says(text: str) -> dict[str, object]:
    return {"messages": [{"role": "user", "content": text}]}


async def _read(client: httpx.AsyncClient, path: str, body: dict[str, object]) -> None:
    async with client.stream("POST", path, json=body) as answer:
        async for _ in answer.aiter_bytes():
            pass


def test_cancelled_requests_leave_nothing(server: Spawned) -> None:
    async def story() -> None:
        chance = random.Random(6)
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
            await asyncio.gather(*(_cancelled_somewhere(client, chance) for _ in range(200)))

    aborted = server.ended("abort")
    with nothing_left(server):
        asyncio.run(story())
    assert server.ended("abort") > aborted


WHOLE = raw_request(ENDLESS | {"stream": True})
PLACES = (10, len(WHOLE) - 20, len(WHOLE) - 1, len(WHOLE))
"""In its head, in its body, just before its end, and after it."""


def _connected(server: Spawned) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=60)


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    connection.close()


def test_connections_that_break_leave_nothing(server: Spawned) -> None:
    """64 of them with a reset: half one after another, the stream having begun, and half at once, most of them still waiting."""
    aborted = server.ended("abort")
    with nothing_left(server):
        for length in PLACES * 8:
            connection = _connected(server)
            connection.sendall(WHOLE[:length])
            if length == len(WHOLE):
                connection.recv(1)
            _reset(connection)
        at_once = [_connected(server) for _ in PLACES * 8]
        for connection, length in zip(at_once, PLACES * 8, strict=True):
            connection.sendall(WHOLE[:length])
        for connection in at_once:
            _reset(connection)
    assert server.ended("abort") - aborted >= 8, "the streams that had begun"


def test_connections_that_are_closed_for_writing_leave_nothing(server: Spawned) -> None:
    """A client that says that it will say no more has gone, for the server."""
    with nothing_left(server):
        for length in PLACES * 2:
            with _connected(server) as connection:
                connection.sendall(WHOLE[:length])
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(1 << 16):
                    pass


def test_a_slow_reader_holds_up_nobody(server: Spawned) -> None:
    with (
        server.client() as slow,
        server.client() as quick,
        slow.stream("POST", "/v1/completions", json=ENDLESS | {"stream": True}),
    ):
        answer = quick.post("/v1/completions", json=ENDLESS | {"max_tokens": 5})
        assert answer.json()["usage"]["completion_tokens"] == 5
    assert not any(at_rest(server).values()), at_rest(server)


def test_the_lines_that_people_look_for(server: Spawned) -> None:
    for words in (
        "Platform plugin cpu_ref is activated",
        "Resolved architecture: LlamaForCausalLM",
        "Using max model len 2048",
        "KV cache size: 9,600 tokens",
        "Maximum concurrency for 2,048 tokens per request: ",
        "init engine (profile, create kv cache, warmup model) took",
        "Available routes are:",
        "Route: /v1/completions, Methods: POST",
        f"Starting vLLM server on {server.url}",
        "Application startup complete.",
    ):
        assert words in server.log
    assert f"(APIServer pid={server.process.pid}) INFO " in server.log
    assert f"(EngineCore pid={server.core.pid}) INFO " in server.log


def test_headers_without_end_are_not_kept(server: Spawned) -> None:
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        with suppress(ConnectionError):  # it may close before it has read all
            connection.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: ")
            for _ in range(1000):
                connection.sendall(b"a" * 65536)
            raise AssertionError("65 MB of headers were taken")
    with server.client() as client:  # short heads, and bodies longer than a head may be, are taken as ever
        body = {"prompt": "Hello", "max_tokens": 1, "user": "x" * 200_000}
        assert [client.post("/v1/completions", json=body).status_code for _ in "ab"] == [200, 200]
