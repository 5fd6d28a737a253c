"""Owns the routes for development, which `VLLM_SERVER_DEV_MODE=1` adds: they reach into the engine, so nobody else may reach them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from vllm.entrypoints.openai.http_errors import ApiError
from vllm.entrypoints.openai.server_state import state_of
from vllm.errors import VllmError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from vllm.engine.async_llm import AsyncLLM

__all__ = ["router"]

router = APIRouter()


def _engine(request: Request) -> AsyncLLM:
    return state_of(request).engine


@router.post("/sleep")
async def sleep(request: Request, level: int = 1) -> Response:
    """Free the device's memory."""
    await _told(_engine(request).sleep(level))
    return Response()


@router.post("/wake_up")
async def wake_up(request: Request) -> Response:
    """Undo /sleep, for all or for `?tags=weights&tags=kv_cache`."""
    await _told(_engine(request).wake_up(request.query_params.getlist("tags")))
    return Response()


@router.get("/is_sleeping")
async def is_sleeping(request: Request) -> dict[str, bool]:
    """Whether the engine's memory is away."""
    return {"is_sleeping": await _told(_engine(request).is_sleeping())}


@router.post("/reset_prefix_cache")
async def reset_prefix_cache(request: Request) -> Response:
    """Forget cached prompt blocks; 409 while requests run."""
    done = await _told(_engine(request).reset_prefix_cache())
    if not done:
        raise ApiError(HTTPStatus.CONFLICT, "The prefix cache is in use: requests run.")
    return Response()


class RpcRequest(BaseModel):
    """A worker's method, by name."""

    method: str
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    timeout: float | None = None


@router.post("/collective_rpc")
async def collective_rpc(body: RpcRequest, request: Request) -> dict[str, list[str | None]]:
    """Call it on every rank; results as text, in rank order."""
    call = _engine(request).collective_rpc(body.method, body.timeout, tuple(body.args), body.kwargs)
    return {"results": [None if each is None else str(each) for each in await _told(call)]}


@router.get("/server_info")
async def server_info(request: Request) -> dict[str, str]:
    """The engine's configuration."""
    return {"vllm_config": str(_engine(request).config)}


async def _told(call: Coroutine[Any, Any, Any]) -> Any:
    """The call's result; an error of ours is told as it is, for whoever asks here is no stranger."""
    try:
        return await call
    except VllmError as error:
        raise ApiError(HTTPStatus.BAD_REQUEST, str(error)) from error
