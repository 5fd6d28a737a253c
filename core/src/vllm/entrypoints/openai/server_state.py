"""Owns what every route of one server may use: its engine, its options, and what is counted and kept beside requests."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from vllm.entrypoints.openai.http_metrics import HttpMetrics
from vllm.entrypoints.openai.middleware import LoadCounter
from vllm.entrypoints.openai.responses_store import ResponseStore

if TYPE_CHECKING:
    from fastapi import Request

    from vllm.engine.async_llm import AsyncLLM
    from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["ServerState", "state_of"]


@dataclass(slots=True)
class ServerState:
    """What every route may use; `app.state.server`. Ask it anew in each request: an engine that died may be replaced."""

    engine: AsyncLLM
    args: ServerArgs
    comes_back: bool = False
    """Whether an engine that dies, or has died, is followed by another one."""
    started_s: int = field(default_factory=lambda: int(time.time()))
    """Seconds since 1970."""
    load: LoadCounter = field(default_factory=LoadCounter)
    http_metrics: HttpMetrics = field(default_factory=HttpMetrics)
    responses: ResponseStore = field(default_factory=ResponseStore)


def state_of(request: Request) -> ServerState:
    """The server's state, for a route."""
    state: ServerState = request.app.state.server
    return state
