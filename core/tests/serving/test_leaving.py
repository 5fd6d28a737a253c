"""Clients that go while the server works for them, over real connections: their requests end, and their blocks are free."""

from __future__ import annotations

import re
import socket
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from core.tests.serving.spawned import Spawned, raw_request

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
    """Aborts are counted: a request that nobody ended would be over soon as well."""
    address = urlsplit(server.url)
    with server.client() as watcher:
        wait_until(watcher, False)
        before = server.ended("abort")
        with socket.create_connection((address.hostname, address.port)) as leaving:
            leaving.sendall(raw_request(LONG | {"stream": stream}))
            wait_until(watcher, True)
        wait_until(watcher, False)
        assert server.ended("abort") == before + len(LONG["prompt"])
