"""Servers for all tests that do not harm them: one in its own processes, one inside this process without sockets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from core.tests.serving.in_process import Served, served
from core.tests.serving.spawned import Spawned, spawned


@pytest.fixture(scope="session")
def server() -> Iterator[Spawned]:
    with spawned(
        "--enable-request-id-headers", "--enable-server-load-tracking", "--max-request-body-bytes", "1m"
    ) as one:
        yield one


@pytest.fixture(scope="session")
def inside() -> Iterator[Served]:
    with served() as one:
        yield one
