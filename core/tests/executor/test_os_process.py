"""What child processes are told about the system they share."""

from __future__ import annotations

import subprocess
import sys

import pytest

from vllm.executor.os_process import child_environment


@pytest.fixture(autouse=True)
def nothing_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)


def test_threads_that_wait_soon_give_up_their_core() -> None:
    assert child_environment()["GOMP_SPINCOUNT"] == "1000"


def test_libgomp_reads_it() -> None:
    """Its own report of what it will do, from a process that loads torch."""
    report = {"OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run(
        [sys.executable, "-c", "import torch"],
        env=child_environment() | report,
        capture_output=True,
        text=True,
        check=True,
    )
    if "GOMP_" not in done.stderr:
        pytest.skip("this torch computes with another library than libgomp")
    assert "GOMP_SPINCOUNT = '1000'" in done.stderr


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "7"), ("OMP_WAIT_POLICY", "active")])
def test_who_has_decided_is_left_alone(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    assert child_environment().get("GOMP_SPINCOUNT") == ("7" if name == "GOMP_SPINCOUNT" else None)
