"""Owns reading large JSON bodies beside the event loop: the framework would parse and check them on it, for seconds where they are long.

msgspec reads some five times as fast as the framework; what it refuses, the framework reads again and says what is wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, ParamSpec, TypeVar, get_type_hints

import msgspec
from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from vllm.entrypoints.openai.http_errors import ApiError
from vllm.entrypoints.openai.validated import validated

__all__ = ["INLINE_bytes", "LargeBodyRoute", "beside_if_large"]

P = ParamSpec("P")
T = TypeVar("T")
INLINE_bytes = 1 << 16
"""Up to this the framework takes about a millisecond."""
MAX_CONTAINERS = 1_000_000
"""Lists and objects of one body, counted by their brackets, those in texts too: building that many takes more than half a second, in which
no other thread gets its turn. A text with as many is longer than any context."""


_decode_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


async def beside_if_large(request: Request, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What the function gives, which goes through the body: beside the event loop where that is large."""
    if len(await request.body()) > INLINE_bytes:
        return await asyncio.to_thread(function, *args, **kwargs)
    return function(*args, **kwargs)


class LargeBodyRoute(APIRoute):
    """A route whose large bodies are there, checked, before the framework begins. For routers: `APIRouter(route_class=…)`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()
        model = get_type_hints(self.endpoint).get("body")

        async def handle_read(request: Request) -> Response:
            if len(await request.body()) > INLINE_bytes:
                request = await asyncio.to_thread(_read, request, await request.body(), model)
            return await handle(request)

        return handle_read


class _ReadRequest(Request):
    """A request whose JSON is known already."""

    def __init__(self, request: Request, content: bytes, known: Any) -> None:
        super().__init__(request.scope, request.receive)
        self._content, self._known = content, known

    async def body(self) -> bytes:
        return self._content

    async def json(self) -> Any:
        return self._known


def _read(request: Request, body: bytes, model: Any) -> Request:
    """The request with its JSON, or as it was. Raises ApiError for too much of it, RequestValidationError for what is no such model."""
    if body.count(b"[") + body.count(b"{") > MAX_CONTAINERS:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"body: holds more than {MAX_CONTAINERS:,} lists and objects, or brackets in its texts.",
            parameter="body",
            error_type="Bad Request",
        )
    try:
        known = _known(body, model)
    except (msgspec.DecodeError, RecursionError):
        return request
    return _ReadRequest(request, body, known)


def _known(body: bytes, model: Any) -> Any:
    """The body as the model. What no field wants is skipped, not built, which takes seconds if it is a million lists."""
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return msgspec.json.decode(body)
    raw = _decode_object(body)
    wanted = raw.keys() if model.model_config.get("extra") == "allow" else model.model_fields.keys() & raw.keys()
    fields = {name: msgspec.json.decode(raw[name]) for name in wanted}
    return validated(model, fields)
