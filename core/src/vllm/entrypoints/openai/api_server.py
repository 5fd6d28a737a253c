"""Owns the application: which routes there are, over which engine. `python -m vllm.entrypoints.openai.api_server` is `vllm serve`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import FastAPI, Request

from vllm.entrypoints.openai.basic_routes import router as basic_routes
from vllm.entrypoints.openai.http_errors import add_error_handlers

if TYPE_CHECKING:
    from vllm.engine.async_llm import AsyncLLM
    from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["ServerState", "build_app", "state_of"]


@dataclass(frozen=True, slots=True)
class ServerState:
    """What every route may use; `app.state.server`."""

    engine: AsyncLLM
    args: ServerArgs


def build_app(engine: AsyncLLM, args: ServerArgs) -> FastAPI:
    """The application over a running engine; it neither starts nor stops it."""
    app = FastAPI(title="vLLM", root_path=args.root_path or "")
    app.state.server = ServerState(engine, args)
    add_error_handlers(app)
    app.include_router(basic_routes)
    return app


def state_of(request: Request) -> ServerState:
    """The server's state, for a route."""
    state: ServerState = request.app.state.server
    return state
