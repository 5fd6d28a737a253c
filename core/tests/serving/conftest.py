"""One spawned server for all tests that do not harm it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from spawned import Spawned, spawned


@pytest.fixture(scope="session")
def server() -> Iterator[Spawned]:
    with spawned(
        "--enable-request-id-headers", "--enable-server-load-tracking", "--max-request-body-bytes", "1m"
    ) as one:
        yield one
