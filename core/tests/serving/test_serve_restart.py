"""What ends a server that has no engine at the moment, and what keeps it from starting at all."""

from __future__ import annotations

import signal

import psutil
import pytest

from core.tests.serving.spawned import spawned, starting


def test_sigterm_while_an_engine_is_started_again_ends_the_server_at_once() -> None:
    before = psutil.Process().children(recursive=True)
    with spawned("--restart-engine", "1") as server:
        server.core.kill()
        server.wait_for("is started again; 0 restarts are left.")
        server.signal(signal.SIGTERM)
        assert server.exit_status() == 0
        assert "The engine runs again." not in server.log
        assert "Traceback" not in server.log
        after = psutil.Process().children(recursive=True)
        assert not [each for each in after if each not in before and each.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.parametrize("name", ["nowhere.Middleware", "json.Nothing"])
def test_a_middleware_that_is_not_there_is_told_before_the_engine_starts(name: str) -> None:
    with starting("--port", "0", "--middleware", name) as server:
        assert server.exit_status() == 1
        assert f"--middleware {name} cannot be loaded" in server.log
        assert "EngineCore" not in server.log


def test_a_server_that_compiled_a_grammar_ends_in_order() -> None:
    with spawned() as server:
        with server.client() as client:
            body = {"prompt": "x", "structured_outputs": {"choice": ["yes"]}}
            assert client.post("/v1/completions", json=body).json()["choices"][0]["text"] == "yes"
        server.signal(signal.SIGTERM)
        assert server.exit_status() == 0
        assert "Fatal" not in server.log
