"""Owns how errors look in Anthropic's API: `{"type": "error", "error": {"type", "message"}}`, from a route and in mid-stream."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vllm.entrypoints.openai.http_errors import TOO_DEEP, RETRY_AFTER_s, as_told, error_body, first_mistake, status_of
from vllm.entrypoints.openai.large_bodies import LargeBodyRoute
from vllm.entrypoints.openai.streaming import named_event
from vllm.errors import VllmError
from vllm.logger import init_logger

__all__ = ["AnthropicRoute", "anthropic_error", "error_event"]

logger = init_logger(__name__)

_TYPE_OF = {
    HTTPStatus.BAD_REQUEST: "invalid_request_error",
    HTTPStatus.UNAUTHORIZED: "authentication_error",
    HTTPStatus.NOT_FOUND: "not_found_error",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "request_too_large",
    HTTPStatus.SERVICE_UNAVAILABLE: "overloaded_error",
}


def anthropic_error(status: int, message: str) -> dict[str, Any]:
    """The envelope."""
    return {"type": "error", "error": {"type": _TYPE_OF.get(HTTPStatus(status), "api_error"), "message": message}}


def error_event(error: Exception) -> bytes:
    """An error in mid-stream."""
    return named_event("error", anthropic_error(status_of(error), _message(error)))


class AnthropicRoute(LargeBodyRoute):
    """A route whose errors are Anthropic's, those of its body and its dependencies too."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        answer = super().get_route_handler()

        async def answer_or_error(request: Request) -> Response:
            try:
                return await answer(request)
            except ClientDisconnect:
                raise  # nobody reads how it looks
            except (RequestValidationError, HTTPException, RecursionError, VllmError) as error:
                return _response(*_status_and_message(request, error))
            except Exception as error:
                logger.exception("%s %s failed", request.method, request.url.path)
                return _response(status_of(error), _message(error))

        return answer_or_error


def _response(status: int, message: str) -> JSONResponse:
    headers = {"Retry-After": str(RETRY_AFTER_s)} if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return JSONResponse(anthropic_error(status, message), status_code=status, headers=headers)


def _status_and_message(request: Request, error: Exception) -> tuple[int, str]:
    match error:
        case RequestValidationError():
            return HTTPStatus.BAD_REQUEST, first_mistake(error)[1]
        case HTTPException():
            return error.status_code, str(error.detail)
        case RecursionError():
            logger.warning("%s %s: the body is nested too deep: %s", request.method, request.url.path, error)
            return HTTPStatus.BAD_REQUEST, TOO_DEEP
    told = as_told(request, error)
    return status_of(told), _message(told)


def _message(error: Exception) -> str:
    return str(error_body(error)["error"]["message"])
