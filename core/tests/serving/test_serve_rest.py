"""What is left after clients went, in a server of its own processes: nothing runs, no block is in use, no descriptor is open."""

from __future__ import annotations

import asyncio
import random
import re
import socket
import time
from contextlib import suppress
from urllib.parse import urlsplit

import httpx
import psutil

from core.tests.serving.spawned import Spawned

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


async def _cancelled_somewhere(client: httpx.AsyncClient, chance: random.Random) -> None:
    body = ENDLESS | {
        "stream": chance.random() < 0.7,
        "n": chance.choice([1, 1, 3]),
        "prompt": "Count: 1 2 3 " * chance.randint(1, 40),
    }
    with suppress(asyncio.TimeoutError, httpx.HTTPError):
        await asyncio.wait_for(_read(client, body), chance.uniform(0.001, 1.0))


async def _read(client: httpx.AsyncClient, body: dict[str, object]) -> None:
    async with client.stream("POST", "/v1/completions", json=body) as answer:
        async for _ in answer.aiter_bytes():
            pass


def test_cancelled_requests_leave_nothing(server: Spawned) -> None:
    async def story() -> None:
        chance = random.Random(6)
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits) as client:
            await asyncio.gather(*(_cancelled_somewhere(client, chance) for _ in range(60)))

    asyncio.run(story())
    assert not any(at_rest(server).values()), at_rest(server)


def test_connections_that_break_leave_nothing(server: Spawned) -> None:
    """With a reset, at every place of a request: in its head, in its body, before the answer, in the stream."""
    head = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    body = b'{"prompt": "Count: 1 2 3", "max_tokens": 1900, "ignore_eos": true, "stream": true}'
    whole = head % len(body) + body
    processes = [psutil.Process(server.process.pid), server.core]
    assert not any(at_rest(server).values())
    before = [process.num_fds() for process in processes]
    address = urlsplit(server.url)
    for length in [10, len(whole) - 20, len(whole) - 1, len(whole)] * 8:
        with socket.create_connection((address.hostname, address.port)) as connection:
            connection.sendall(whole[:length])
            if length == len(whole):
                connection.recv(1)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    assert not any(at_rest(server).values()), at_rest(server)
    deadline_s = time.monotonic() + PATIENCE_s
    while (after := [process.num_fds() for process in processes]) > before and time.monotonic() < deadline_s:
        at_rest(server)
    assert after <= before


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
