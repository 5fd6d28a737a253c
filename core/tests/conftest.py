"""What every test of core stands on: the platform that one test takes does not stay for the next."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from vllm.platforms import resolution


@pytest.fixture(autouse=True)
def platform_of_its_own() -> Iterator[None]:
    """Put the process's platform back as it was before the test."""
    resolver = resolution._RESOLVER
    before = resolver._platform
    yield
    resolver._platform = before
