"""Clients that go while the server works for them, over real connections: their requests end, and their blocks are free."""

from __future__ import annotations

import contextlib
import re
import time
from typing import Any

import httpx
import pytest

from core.tests.serving.spawned import Spawned

LONG: dict[str, Any] = {"prompt": ["Count: 1 2 3"] * 2, "max_tokens": 1900, "ignore_eos": True}
PATIENCE_s = 60.0


def running(client: httpx.Client) -> float:
    found = re.findall(
        r"^vllm:(?:num_requests_running|num_requests_waiting|kv_cache_usage_perc)\{.*\} (\S+)$",
        client.get("/metrics").text,
        re.M,
    )
    assert len(found) == 3
    return sum(map(float, found))


def wait_until(client: httpx.Client, wanted: bool) -> None:
    """Until something runs (or nothing does)."""
    until_s = time.monotonic() + PATIENCE_s
    while (running(client) > 0) is not wanted:
        assert time.monotonic() < until_s


@pytest.mark.parametrize("stream", [True, False])
def test_a_closed_connection_ends_the_request(server: Spawned, stream: bool) -> None:
    with server.client() as watcher:
        wait_until(watcher, False)
        with (
            contextlib.suppress(httpx.ReadTimeout),
            server.client() as leaving,
            leaving.stream("POST", "/v1/completions", json=LONG | {"stream": stream}, timeout=1.0) as answer,
        ):
            next(answer.iter_lines())
            wait_until(watcher, True)
        wait_until(watcher, False)
