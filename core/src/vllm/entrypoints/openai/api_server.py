"""Owns the application: which routes there are, over which engine. `python -m vllm.entrypoints.openai.api_server` is `vllm serve`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, cast

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute, Route

import vllm
from vllm import envs
from vllm.entrypoints.anthropic.messages import router as messages
from vllm.entrypoints.openai.basic_routes import router as basic_routes
from vllm.entrypoints.openai.chat import router as chat
from vllm.entrypoints.openai.chat_batch import router as chat_batch
from vllm.entrypoints.openai.completions import router as completions
from vllm.entrypoints.openai.dev_routes import router as dev_routes
from vllm.entrypoints.openai.endpoint_plugins import add_endpoint_plugins
from vllm.entrypoints.openai.http_errors import add_error_handlers
from vllm.entrypoints.openai.invocations import router as invocations
from vllm.entrypoints.openai.middleware import ApiKeyGuard, BodyLimit, RequestIds, RootPath, traced
from vllm.entrypoints.openai.responses import router as responses
from vllm.entrypoints.openai.server_state import ServerState
from vllm.entrypoints.openai.tokenize_routes import router as tokenize_routes
from vllm.entrypoints.openai.tokenize_routes import tokenizer_info
from vllm.entrypoints.openai.users_code import load_middleware
from vllm.logger import init_logger

if TYPE_CHECKING:
    from vllm.engine.async_llm import AsyncLLM
    from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["build_app", "routes_in"]

logger = init_logger(__name__)

_ROUTERS = (basic_routes, tokenize_routes, completions, chat, responses, messages, chat_batch, invocations)


def build_app(engine: AsyncLLM, args: ServerArgs, *, state: ServerState | None = None) -> FastAPI:
    """The application over a running engine; it neither starts nor stops it."""
    shows_docs = not args.disable_fastapi_docs
    app = FastAPI(
        title="vLLM",
        version=vllm.__version__,
        openapi_url="/openapi.json" if shows_docs else None,
    )
    state = app.state.server = state or ServerState(engine, args)
    add_error_handlers(app)
    for router in _ROUTERS:
        app.include_router(router)
    if args.enable_tokenizer_info_endpoint:
        app.add_api_route("/tokenizer_info", tokenizer_info)
    if envs.VLLM_SERVER_DEV_MODE:
        logger.warning(
            "VLLM_SERVER_DEV_MODE=1: routes that reach into the engine are served to everybody who can connect."
        )
        app.include_router(dev_routes)
    add_endpoint_plugins(app)
    _add_middleware(app, args, state)
    return app


def _add_middleware(app: FastAPI, args: ServerArgs, state: ServerState) -> None:
    """From the routes outwards. The user's own sees everything, CORS what is refused too."""
    keys = (*(args.api_key or ()), *([envs.VLLM_API_KEY] if envs.VLLM_API_KEY else []))
    app.add_middleware(BodyLimit, max_bytes=args.max_request_body_bytes)
    if keys:
        app.add_middleware(ApiKeyGuard, keys=keys)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=args.allowed_origins,
        allow_methods=args.allowed_methods,
        allow_headers=args.allowed_headers,
        allow_credentials=args.allow_credentials,
    )
    if args.enable_request_id_headers:
        app.add_middleware(RequestIds)
    if args.otlp_traces_endpoint is not None:
        app.add_middleware(traced)
    if args.enable_server_load_tracking:
        app.add_middleware(state.load.middleware)
    app.add_middleware(state.http_metrics.middleware)
    if args.root_path:
        app.add_middleware(RootPath, root_path=args.root_path.rstrip("/"))
    for path in args.middleware:
        _add_users_middleware(app, path)


def _add_users_middleware(app: FastAPI, path: str) -> None:
    found = load_middleware(path)
    if isinstance(found, type):
        app.add_middleware(cast("Any", found))
    else:
        app.middleware("http")(found)


def routes_in(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """Every route with a path. Older FastAPI copies those of an included router, newer keeps the router itself."""
    for route in routes:
        if isinstance(route, Route):
            yield route
        router = getattr(route, "original_router", None)
        if isinstance(router, APIRouter):
            yield from routes_in(router.routes)


if __name__ == "__main__":
    from vllm.entrypoints.cli.main import main

    sys.exit(main(["serve", *sys.argv[1:]]))
