"""Clients that are too heavy for CI's main environment, as scripts in a Python that has them: `nox -s clients`."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.tests.serving.spawned import Spawned, spawned

PYTHON = os.environ.get("VLLM_TEST_CLIENTS_PYTHON")
SCRIPTS = Path(__file__).parent / "scripts"

pytestmark = pytest.mark.skipif(PYTHON is None, reason="VLLM_TEST_CLIENTS_PYTHON names no Python; use `nox -s clients`")


@pytest.fixture(scope="module")
def named() -> Iterator[Spawned]:
    flags = ("--served-model-name", "tiny", "--max-model-len", "512")
    with spawned(*flags, "--enable-auto-tool-choice", "--tool-call-parser", "hermes") as one:
        yield one


@pytest.mark.parametrize("script", ["with_langchain.py", "with_litellm.py"])
def test_a_script_runs_through(named: Spawned, script: str) -> None:
    assert PYTHON is not None
    quiet = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LANGSMITH_TRACING": "false"}  # they ask nobody else
    command = (PYTHON, str(SCRIPTS / script), named.url)
    ran = subprocess.run(command, env=os.environ | quiet, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
