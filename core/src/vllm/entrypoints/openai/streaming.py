"""Owns server-sent events: their framing, errors in mid-stream, and that a client who goes ends the work done for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from fastapi import Response

from vllm.entrypoints.openai.http_errors import CLIENT_CLOSED_REQUEST, error_body
from vllm.errors import VllmError
from vllm.logger import init_logger

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

__all__ = [
    "DONE",
    "EventStream",
    "JsonAnswer",
    "StreamEnd",
    "answer_unless_gone",
    "begun",
    "event",
    "named_event",
]

logger = init_logger(__name__)

T = TypeVar("T")
Events = AsyncGenerator[bytes, None]
DONE = b"data: [DONE]\n\n"
_encode = msgspec.json.Encoder().encode


class ClientGone(Exception):
    """The client has closed its connection; nobody reads an answer."""


class JsonAnswer(Response):
    """A msgspec structure as JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return _encode(content)


def event(data: object) -> bytes:
    """One event with `data` as JSON."""
    return b"data: " + _encode(data) + b"\n\n"


def named_event(name: str, data: object) -> bytes:
    """One event that has a name."""
    return b"event: " + name.encode() + b"\n" + event(data)


def _error_event(error: Exception) -> bytes:
    return event(error_body(error))


@dataclass(frozen=True, kw_only=True, slots=True)
class StreamEnd:
    """How an API says that a stream has ended."""

    done: bytes = DONE
    """After the last event, whatever that was."""
    error: Callable[[Exception], bytes] = _error_event
    """The event that tells of an error."""


_OPENAI_END = StreamEnd()


async def answer_unless_gone(receive: Receive, work: Coroutine[Any, Any, Response]) -> Response:
    """The answer that `work` gives; the work, from the request's first check on, is cancelled when the client goes."""
    try:
        return await _unless_gone(receive, work)
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)


async def begun(events: Events, end: StreamEnd = _OPENAI_END) -> EventStream:
    """The events as a stream, once the first is there: what is refused is answered with a status of its own."""
    return EventStream(await anext(events), events, end)


async def _unless_gone(receive: Receive, work: Coroutine[Any, Any, T]) -> T:
    """What `work` gives. Cancels it and raises ClientGone if the client goes meanwhile."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientGone
        return working.result()
    finally:
        gone.cancel()
        if not working.done():
            working.cancel()
            await asyncio.wait((working,))
        if not working.cancelled():
            working.exception()  # where the client has gone nobody wants to know, and the loop must not complain


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


class EventStream(Response):
    """A stream of events, then its end. Closes the generator when the client goes; an error becomes an event of its own."""

    media_type = "text/event-stream"

    def __init__(self, first: bytes, events: Events, end: StreamEnd) -> None:
        """`first` was taken out of `events` before."""
        super().__init__(headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._first = first
        self._events = events
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the end, or until nobody listens."""
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await _unless_gone(receive, self._send_all(send))
        except (ClientGone, OSError):
            logger.debug("The client of %s has gone", scope.get("path"))
        finally:
            await self._events.aclose()

    async def _send_all(self, send: Send) -> None:
        async def tell(body: bytes) -> None:
            await send({"type": "http.response.body", "body": body, "more_body": True})

        await tell(self._first)
        try:
            async with aclosing(self._events):
                async for each in self._events:
                    await tell(each)
        except OSError:
            raise
        except Exception as error:
            if not isinstance(error, VllmError):
                logger.exception("A stream failed")
            await tell(self._end.error(error))
        await send({"type": "http.response.body", "body": self._end.done, "more_body": False})
