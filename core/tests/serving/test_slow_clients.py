"""Clients that send or read too slowly, over real connections: each is let go after its time, and costs little until then."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from vllm.entrypoints.openai.http_protocol import BoundedConnection, PIECE_bytes
from vllm.entrypoints.openai.streaming import EventStream, StreamEnd

PATIENCE_s = 60.0
POST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"


class Application:
    """Reads a body and answers with a stream that never ends."""

    def __init__(self) -> None:
        self.events = 0
        self.gone = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        try:
            while (message := await receive())["type"] == "http.request" and message["more_body"]:
                pass
            if message["type"] == "http.request":
                await EventStream(b"data: \n\n", self._endless(), StreamEnd())(scope, receive, send)
        finally:
            self.gone.set()

    async def _endless(self) -> AsyncGenerator[bytes, None]:
        while True:
            self.events += 1
            yield b"data: " + b"x" * 10_000 + b"\n\n"
            await asyncio.sleep(0)


class Open:
    """A server, and a connection to it."""

    def __init__(self, app: Application, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.app, self.reader, self.writer = app, reader, writer

    async def is_let_go(self) -> bytes:
        """What the server says before it closes."""
        return await asyncio.wait_for(self.reader.read(), PATIENCE_s)


@asynccontextmanager
async def connected() -> AsyncIterator[Open]:
    app = Application()
    config = uvicorn.Config(app, http=BoundedConnection, ws="none", lifespan="off", port=0, log_config=None)
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0)
    port = server.servers[0].sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 12)
    try:
        yield Open(app, reader, writer)
    finally:
        writer.transport.abort()
        server.should_exit = True
        await running


def run(story: Callable[[Open], Coroutine[Any, Any, None]]) -> None:
    async def whole() -> None:
        async with connected() as one:
            await story(one)

    asyncio.run(whole())


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_HTTP_TIMEOUT_RECEIVE", "0.3")
    monkeypatch.setenv("VLLM_HTTP_TIMEOUT_SEND", "0.3")


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("sent", "answer"), [(b"", b""), (b"POST / HT", b"408"), (POST[:-2], b"408"), (POST, b""), (POST + b"x" * 999, b"")]
)
def test_a_request_that_does_not_come_is_not_waited_for(sent: bytes, answer: bytes) -> None:
    async def story(one: Open) -> None:
        one.writer.write(sent)
        assert (await one.is_let_go())[9:12] == answer
        if sent.startswith(POST):
            await asyncio.wait_for(one.app.gone.wait(), PATIENCE_s)

    run(story)


@pytest.mark.usefixtures("short")
def test_single_bytes_do_not_keep_a_connection() -> None:
    async def story(one: Open) -> None:
        one.writer.write(POST)
        while not one.reader.at_eof():  # far less than PIECE_bytes come in time
            one.writer.write(b"x")
            done, _ = await asyncio.wait([asyncio.ensure_future(one.reader.read(1))], timeout=0.01)
            if done:
                break
        await asyncio.wait_for(one.app.gone.wait(), PATIENCE_s)

    run(story)


def test_a_long_body_may_take_longer_than_one_piece_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VLLM_HTTP_TIMEOUT_RECEIVE", "2")

    async def story(one: Open) -> None:
        one.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (PIECE_bytes * 8))
        for _ in range(8):
            await asyncio.sleep(0.4)
            one.writer.write(b"x" * PIECE_bytes)
        assert (await asyncio.wait_for(one.reader.readline(), PATIENCE_s)).startswith(b"HTTP/1.1 200")

    run(story)


@pytest.mark.usefixtures("short")
def test_who_never_reads_is_cut_and_holds_little() -> None:
    async def story(one: Open) -> None:
        one.writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
        await asyncio.wait_for(one.app.gone.wait(), PATIENCE_s)
        assert 0 < one.app.events < 2000  # 20 MB at most, all of it in the system's buffers

    run(story)
