"""Owns how what goes wrong becomes an HTTP answer: status, envelope, and words that never hold a path or a traceback.

Envelope: `{"error": {"message", "type", "param", "code"}}`. Routes that do not exist keep the framework's `{"detail": …}`, as clients
of vLLM know it.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vllm.errors import (
    EngineDeadError,
    EngineShutdownError,
    InvalidRequestError,
    OutOfMemoryError,
    QueueFullError,
    VllmError,
)
from vllm.logger import init_logger

__all__ = [
    "CLIENT_CLOSED_REQUEST",
    "RETRY_AFTER_s",
    "TOO_DEEP",
    "ApiError",
    "add_error_handlers",
    "as_told",
    "error_body",
    "error_response",
    "first_mistake",
    "model_not_found",
    "status_of",
]

logger = init_logger(__name__)

RETRY_AFTER_s = 1
CLIENT_CLOSED_REQUEST = 499
"""No status of HTTP: what logs of servers say of a request whose client went before the answer. Nobody reads it."""
TOO_DEEP = "body: it is nested too deep"
_FORM = re.compile(r"(str|int|float|bool|dict|list|constrained-\w+|[A-Z]\w*)$|.*\[")
"""Names of types and of models, as pydantic writes them."""
_TYPE_OF = {
    HTTPStatus.BAD_REQUEST: "BadRequestError",
    HTTPStatus.UNAUTHORIZED: "AuthenticationError",
    HTTPStatus.NOT_FOUND: "NotFoundError",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "RequestTooLargeError",
    HTTPStatus.NOT_IMPLEMENTED: "NotImplementedError",
    HTTPStatus.SERVICE_UNAVAILABLE: "ServiceUnavailableError",
    HTTPStatus.INTERNAL_SERVER_ERROR: "InternalServerError",
}


class ApiError(VllmError):
    """An answer that a route gives instead of its own: status, message, and the field at fault if there is one."""

    def __init__(
        self, status: HTTPStatus, message: str, *, parameter: str | None = None, error_type: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.parameter = status, message, parameter
        self.error_type = error_type or _TYPE_OF.get(status, "InternalServerError")


def model_not_found(name: str) -> ApiError:
    """For a model that this server does not serve."""
    return ApiError(HTTPStatus.NOT_FOUND, f"The model `{name}` does not exist.", parameter="model")


def error_body(error: BaseException) -> dict[str, Any]:
    """The envelope of an error. What is not ours to tell (a bug, a plugin's failure) becomes a general sentence; the log has the rest."""
    status = status_of(error)
    message, parameter, kind = "The server failed to answer; its log says why.", None, _TYPE_OF.get(status)
    match error:
        case ApiError():
            message, parameter, kind = error.message, error.parameter, error.error_type
        case InvalidRequestError():
            message, parameter = str(error), error.parameter
        case QueueFullError() | EngineShutdownError():
            message = str(error)
        case EngineDeadError():
            message = "The engine has stopped; requests cannot be answered any more."
    return {"error": {"message": message, "type": kind, "param": parameter, "code": int(status)}}


def status_of(error: BaseException) -> HTTPStatus:
    """400 for what the client can mend, 503 for what passes, 500 for the rest."""
    match error:
        case ApiError():
            return error.status
        case InvalidRequestError():
            return HTTPStatus.BAD_REQUEST
        case QueueFullError() | EngineShutdownError():
            return HTTPStatus.SERVICE_UNAVAILABLE
        case EngineDeadError() | OutOfMemoryError():
            return HTTPStatus.INTERNAL_SERVER_ERROR
    return HTTPStatus.INTERNAL_SERVER_ERROR


def error_response(error: BaseException) -> JSONResponse:
    """The answer to a request that failed before anything was sent."""
    status = status_of(error)
    headers = {"Retry-After": str(RETRY_AFTER_s)} if status is HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse(error_body(error), status_code=status, headers=headers)


def add_error_handlers(app: FastAPI) -> None:
    """Have every error of a route answered with the envelope."""
    app.add_exception_handler(RequestValidationError, _unreadable)
    app.add_exception_handler(HTTPException, _of_framework)
    app.add_exception_handler(RecursionError, _too_deep)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(VllmError, _ours)
    app.add_exception_handler(Exception, _unforeseen)


def as_told(request: Request, error: Exception) -> Exception:
    """The error that the client hears of: an engine that comes back is no more than away."""
    if isinstance(error, EngineDeadError) and request.app.state.server.comes_back:
        return ApiError(HTTPStatus.SERVICE_UNAVAILABLE, "The engine has stopped and is started again: try again later.")
    return error


async def _ours(request: Request, error: Exception) -> JSONResponse:
    return error_response(as_told(request, error))


async def _of_framework(request: Request, error: Exception) -> Response:
    """A body that even its JSON parser gave up (nested too deep) is the client's mistake; a route that is not there stays as it is."""
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return error_response(
            ApiError(HTTPStatus.BAD_REQUEST, f"body: {error.detail}", parameter="body", error_type="Bad Request")
        )
    return await http_exception_handler(request, error)


async def _too_deep(request: Request, error: Exception) -> JSONResponse:
    """Only data of a client can nest so deep: its body, a schema, a tool's parameters."""
    logger.warning("%s %s: the body is nested too deep: %s", request.method, request.url.path, error)
    return error_response(ApiError(HTTPStatus.BAD_REQUEST, TOO_DEEP, parameter="body", error_type="Bad Request"))


async def _gone(_request: Request, _error: Exception) -> Response:
    """The client went before its body had come."""
    return Response(status_code=CLIENT_CLOSED_REQUEST)


async def _unforeseen(request: Request, error: Exception) -> JSONResponse:
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return error_response(error)


async def _unreadable(_request: Request, error: Exception) -> JSONResponse:
    """A body that is no JSON, or not of the right form: the first thing wrong with it, and where."""
    assert isinstance(error, RequestValidationError)
    where, message = first_mistake(error)
    body = {"message": message, "type": "Bad Request", "param": where or None, "code": int(HTTPStatus.BAD_REQUEST)}
    return JSONResponse({"error": body}, status_code=HTTPStatus.BAD_REQUEST)


def first_mistake(error: RequestValidationError) -> tuple[str, str]:
    """The field at fault, which may be none, and what is wrong with it."""
    errors = error.errors()
    where = _field(errors[0]["loc"])
    words = "; or: ".join(dict.fromkeys(str(each["msg"]) for each in errors if _field(each["loc"]) == where))
    return where, f"{where}: {words}" if where else words


def _field(location: Iterable[str | int]) -> str:
    """The field's path. Where it may have several forms, pydantic adds the form that it tried, like `list[int]`: that is no field."""
    parts = itertools.takewhile(lambda part: not _FORM.match(str(part)), location)
    return ".".join(map(str, parts))
