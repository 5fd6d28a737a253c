"""The tests run on a CPU, under the backend `eager` unless they say otherwise, with chunks of one block: short texts have many."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _on_the_cpu(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["VLLM_SPYRE_DYNAMO_BACKEND"] = "eager"
    os.environ["VLLM_DT_CHUNK_LEN"] = "64"
    os.environ["VLLM_CACHE_ROOT"] = str(tmp_path_factory.mktemp("cache"))
