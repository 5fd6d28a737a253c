"""Owns what stands between the socket and the routes: keys, request ids, the size of bodies, the count of what is under way.

Pure ASGI: nothing here copies a stream or adds a task to a request.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse

from vllm.entrypoints.openai.http_errors import ApiError, error_response

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["ApiKeyGuard", "BodyLimit", "LoadCounter", "RequestIds", "RootPath", "path_of", "traced"]

GUARDED = ("/v1", "/v2", "/inference", "/cohere")
"""Prefixes that need a key; health and metrics do not, for the probes that ask them have none."""
_WORKS = ("/v1/", "/v2/", "/inference/", "/invocations", "/tokenize", "/detokenize")
_REQUEST_ID = "x-request-id"


def path_of(scope: Scope) -> str:
    """The path that routes see: without the root path under which a proxy shows the server."""
    path: str = scope["path"]
    root = scope.get("root_path", "").rstrip("/")
    inside = root and (path == root or path.startswith(root + "/"))
    return path[len(root) :] if inside else path


class RootPath:
    """Tells the routes under which path a proxy shows them; requests may come with it, or stripped of it."""

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app, self._root_path = app, root_path

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope["root_path"] = self._root_path
        await self._app(scope, receive, send)


class ApiKeyGuard:
    """401 for guarded paths without `Authorization: Bearer KEY` (or `x-api-key`, Anthropic's way). Comparing takes as long for any key."""

    def __init__(self, app: ASGIApp, keys: Iterable[str]) -> None:
        self._app = app
        self._digests = [_digest(key.encode("utf-8", "surrogateescape")) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and self._refuses(scope):
            await _unauthorized(scope)(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    def _refuses(self, scope: Scope) -> bool:
        if scope["method"] == "OPTIONS" or not path_of(scope).startswith(
            GUARDED
        ):  # OPTIONS: browsers ask before they show keys
            return False
        shown = _shown_key(scope)
        if shown is None:
            return True
        digest = _digest(shown)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]  # all of them, whichever fits
        return not any(matches)


def _is_anthropics(scope: Scope) -> bool:
    return path_of(scope).startswith("/v1/messages")


def _shown_key(scope: Scope) -> bytes | None:
    """What the client shows, as it came: headers are bytes. Anthropic's clients have a header of their own."""
    headers: dict[bytes, bytes] = dict(scope["headers"])
    scheme, _, shown = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() == b"bearer":
        return shown.strip(b" \t")
    return headers.get(b"x-api-key") if _is_anthropics(scope) else None


def _unauthorized(scope: Scope) -> JSONResponse:
    """As vLLM's clients know it; on Anthropic's routes as Anthropic's do."""
    body: object = {"error": "Unauthorized"}
    if _is_anthropics(scope):
        body = {"type": "error", "error": {"type": "authentication_error", "message": "Unauthorized"}}
    return JSONResponse(body, status_code=HTTPStatus.UNAUTHORIZED)


def _digest(key: bytes) -> bytes:
    """Keys of one length, whatever theirs is."""
    return hashlib.sha256(key).digest()


class RequestIds:
    """Answers carry the request's X-Request-Id; one that has none gets one, which the routes see too."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = Headers(scope=scope).get(_REQUEST_ID)
        if not request_id:
            request_id = uuid.uuid4().hex
            scope["headers"] = [*scope["headers"], (_REQUEST_ID.encode(), request_id.encode())]

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[_REQUEST_ID] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


class BodyLimit:
    """413 for a body above the limit: by its declared length before it is read, else as soon as it has grown too long."""

    def __init__(self, app: ASGIApp, max_bytes: int) -> None:
        self._app, self._max_bytes = app, max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._is_declared_too_long(Headers(scope=scope).get("content-length", "")):
            await self._refusal()(scope, receive, send)
        else:
            await self._with_count(scope, receive, send)

    def _is_declared_too_long(self, length: str) -> bool:
        return length.isdecimal() and int(length) > self._max_bytes

    async def _with_count(self, scope: Scope, receive: Receive, send: Send) -> None:
        received_bytes = 0

        async def receive_some() -> Message:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            return {"type": "http.disconnect"} if received_bytes > self._max_bytes else message

        async def send_unless_too_long(message: Message) -> None:
            if received_bytes <= self._max_bytes:
                await send(message)

        try:
            await self._app(scope, receive_some, send_unless_too_long)
        finally:
            if received_bytes > self._max_bytes:
                await self._refusal()(scope, receive, send)

    def _refusal(self) -> JSONResponse:
        return error_response(
            ApiError(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
                f"The request's body is longer than the {self._max_bytes} bytes that this server takes.",
            )
        )


class LoadCounter:
    """How many requests for work are being answered, for /load."""

    def __init__(self) -> None:
        self.under_way = 0

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """`app`, counted."""

        async def counted(scope: Scope, receive: Receive, send: Send) -> None:
            works = scope["type"] == "http" and scope["method"] == "POST" and path_of(scope).startswith(_WORKS)
            self.under_way += works
            try:
                await app(scope, receive, send)
            finally:
                self.under_way -= works

        return counted


def traced(app: ASGIApp) -> ASGIApp:
    """`app`, in the trace that the client's `traceparent` header names."""
    from opentelemetry import context
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    propagator = TraceContextTextMapPropagator()

    async def in_trace(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await app(scope, receive, send)
            return
        token = context.attach(propagator.extract(dict(Headers(scope=scope))))
        try:
            await app(scope, receive, send)
        finally:
            context.detach(token)

    return in_trace
