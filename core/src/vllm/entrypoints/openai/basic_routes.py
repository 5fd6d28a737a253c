"""Owns the routes that say what is served, how it does, and whether it lives."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import prometheus_client as prom
from fastapi import APIRouter, Request, Response

import vllm
from vllm.entrypoints.openai.page import router as page
from vllm.entrypoints.openai.server_state import ServerState, state_of

__all__ = ["router"]

router = APIRouter()
router.include_router(page)


@router.get("/health")
async def health(request: Request) -> Response:
    """200 with an empty body while the engine takes requests, else 503."""
    dead = state_of(request).engine.errored
    return Response(status_code=HTTPStatus.SERVICE_UNAVAILABLE if dead else HTTPStatus.OK)


@router.get("/ping")
@router.post("/ping")
async def ping(request: Request) -> Response:
    """The same, as SageMaker asks for it."""
    return await health(request)


@router.get("/version")
async def version() -> dict[str, str]:
    """The core's version."""
    return {"version": vllm.__version__}


@router.get("/v1/models")
async def models(request: Request) -> dict[str, Any]:
    """The names under which the model is served."""
    state = state_of(request)
    model = state.engine.model_config
    names = (model.served_model_name, *model.served_model_aliases)
    return {"object": "list", "data": [_card(name, model.served_model_name, state) for name in names]}


def _card(name: str, root: str, state: ServerState) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": state.started_s,
        "owned_by": "vllm",
        "root": root,
        "parent": None,
        "max_model_len": state.engine.model_config.max_model_len,
        "permission": [],
    }


@router.get("/load")
async def load(request: Request) -> dict[str, int]:
    """Requests being answered; counted with --enable-server-load-tracking."""
    return {"server_load": state_of(request).load.under_way}


@router.get("/metrics")
async def metrics(request: Request) -> Response:
    """Everything that is counted, as Prometheus reads it."""
    state = state_of(request)
    of_engine = state.engine.metrics
    registries = [state.http_metrics.registry, *([] if of_engine is None else [of_engine.registry])]
    text = b"".join(prom.generate_latest(registry) for registry in registries)
    return Response(text, media_type=prom.CONTENT_TYPE_LATEST)
