"""Owns the routes that say what is served and whether it lives."""

from __future__ import annotations

import time
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response

import vllm

__all__ = ["router"]

router = APIRouter()


@router.get("/health")
async def health(request: Request) -> Response:
    """200 with an empty body while the engine takes requests, else 503."""
    engine = request.app.state.server.engine
    return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE if engine.errored else HTTPStatus.OK)


@router.get("/version")
async def version() -> dict[str, str]:
    """The core's version."""
    return {"version": vllm.__version__}


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The names under which the model is served."""
    model = request.app.state.server.engine.model_config
    names = (model.served_model_name, *model.served_model_aliases)
    return {"object": "list", "data": [_card(name, model.served_model_name, model.max_model_len) for name in names]}


def _card(name: str, root: str, max_model_len: int) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "vllm",
        "root": root,
        "parent": None,
        "max_model_len": max_model_len,
    }
