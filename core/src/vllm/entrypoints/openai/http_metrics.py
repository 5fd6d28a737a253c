"""Owns the metrics of HTTP itself: how many requests each route answered with which kind of status, and how long that took."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import prometheus_client as prom

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["HttpMetrics"]

_UNCOUNTED = frozenset(("/metrics", "/health", "/load", "/ping", "/version", "/server_info"))
"""What machines ask all the time."""
_BUCKETS_s = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_NO_ROUTE = "none"


class HttpMetrics:
    """One server's counts, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = prom.CollectorRegistry()
        self._answers = prom.Counter(
            "http_requests",
            "Requests by route, method and kind of status.",
            ["handler", "method", "status"],
            registry=self.registry,
        )
        self._durations_s = prom.Histogram(
            "http_request_duration_seconds",
            "Seconds until the answer was complete.",
            ["handler", "method"],
            buckets=_BUCKETS_s,
            registry=self.registry,
        )

    def middleware(self, app: ASGIApp) -> ASGIApp:
        """`app`, counted and timed."""

        async def measured(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] != "http":
                await app(scope, receive, send)
                return
            start_s, status = time.perf_counter(), 500

            async def send_and_note(message: Message) -> None:
                nonlocal status
                if message["type"] == "http.response.start":
                    status = message["status"]
                await send(message)

            try:
                await app(scope, receive, send_and_note)
            finally:
                self._note(scope, status, time.perf_counter() - start_s)

        return measured

    def _note(self, scope: Scope, status: int, duration_s: float) -> None:
        route = scope.get("route")
        handler = _NO_ROUTE if route is None else route.path  # a pattern: unknown paths make no label of their own
        if handler in _UNCOUNTED:
            return
        method = scope["method"]
        self._answers.labels(handler, method, f"{status // 100}xx").inc()
        self._durations_s.labels(handler, method).observe(duration_s)
