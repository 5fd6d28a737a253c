"""Streams of events: what goes wrong after the first one is told as an event, and whoever leaves ends the generator."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from vllm.entrypoints.openai.streaming import DONE, answer_unless_gone, begun, event
from vllm.errors import EngineDeadError, InvalidRequestError


class Connection:
    """The two ends of an ASGI connection; the client goes when `gone` is set."""

    def __init__(self) -> None:
        self.gone = asyncio.Event()
        self.sent: list[bytes] = []

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.sent.append(message.get("body", b""))
        await asyncio.sleep(0)


class Events:
    """Events 0, 1, 2 …; fails before number `fails_at`; knows whether it was closed."""

    def __init__(self, count: int, *, fails_at: int | None = None, error: Exception | None = None) -> None:
        self._count, self._fails_at, self._error = count, fails_at, error
        self.closed = False

    async def generate(self) -> AsyncGenerator[bytes, None]:
        try:
            for number in range(self._count):
                if number == self._fails_at:
                    assert self._error is not None
                    raise self._error
                yield event(number)
                await asyncio.sleep(0)
        finally:
            self.closed = True


async def sent(events: Events) -> list[bytes]:
    connection = Connection()
    answer = await answer_unless_gone(connection.receive, begun(events.generate()))
    await answer({"type": "http"}, connection.receive, connection.send)
    return [body for body in connection.sent if body]


def test_all_events_then_done() -> None:
    events = Events(3)
    assert asyncio.run(sent(events)) == [b"data: 0\n\n", b"data: 1\n\n", b"data: 2\n\n", DONE]
    assert events.closed


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        (EngineDeadError("pid 5 was killed"), "The engine has stopped", 500),
        (RuntimeError("/a/path"), "The server failed to answer", 500),
    ],
    ids=["engine", "bug"],
)
def test_an_error_in_mid_stream_is_an_event(error: Exception, words: str, code: int) -> None:
    first, last, done = asyncio.run(sent(Events(3, fails_at=1, error=error)))
    told = json.loads(last.removeprefix(b"data: "))["error"]
    assert (first, done, told["code"]) == (b"data: 0\n\n", DONE, code)
    assert told["message"].startswith(words)
    assert "/a/path" not in told["message"]


def test_an_error_before_the_first_event_is_the_routes_own() -> None:
    with pytest.raises(InvalidRequestError):
        asyncio.run(sent(Events(3, fails_at=0, error=InvalidRequestError("no"))))


def test_who_leaves_before_the_first_event_gets_no_answer() -> None:
    async def story() -> tuple[int, bool]:
        connection, ended = Connection(), asyncio.Event()

        async def never() -> AsyncGenerator[bytes, None]:
            try:
                connection.gone.set()
                await asyncio.Event().wait()
                yield b""
            finally:
                ended.set()

        answer = await answer_unless_gone(connection.receive, begun(never()))
        return answer.status_code, ended.is_set()

    assert asyncio.run(story()) == (499, True)


def test_what_fails_while_its_client_leaves_is_nobodys_concern() -> None:
    """Not the event loop's either, which complains of errors that nobody has looked at."""

    async def story() -> tuple[int, list[Any]]:
        connection, complaints = Connection(), []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))

        async def fails_late() -> AsyncGenerator[bytes, None]:
            try:
                connection.gone.set()
                await asyncio.Event().wait()
            finally:
                raise InvalidRequestError("The core refuses it.")
            yield b""

        answer = await answer_unless_gone(connection.receive, begun(fails_late()))
        gc.collect()
        return answer.status_code, complaints

    assert asyncio.run(story()) == (499, [])


def test_who_leaves_in_mid_stream_ends_it() -> None:
    async def story() -> Events:
        connection, events = Connection(), Events(1_000_000)
        answer = await answer_unless_gone(connection.receive, begun(events.generate()))
        sending = asyncio.create_task(answer({"type": "http"}, connection.receive, connection.send))
        while len(connection.sent) < 3:
            await asyncio.sleep(0)
        connection.gone.set()
        await sending
        assert DONE not in connection.sent
        return events

    assert asyncio.run(story()).closed
