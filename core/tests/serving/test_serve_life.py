"""How a server ends: by signals, by its engine's death; what is left of it is nothing."""

from __future__ import annotations

import json
import operator
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psutil
import pytest

from core.tests.serving.spawned import Spawned, spawned, starting

ENDLESS = {"prompt": "Count: 1 2 3", "max_tokens": 1900, "ignore_eos": True, "temperature": 0, "stream": True}

PATIENCE_s = 180.0
STATISTICS = re.compile(
    r"Engine 000: Avg prompt throughput: \d+\.\d tokens/s, Avg generation throughput: \d+\.\d tokens/s, "
    r"Running: [1-9]\d* reqs, Waiting: [1-9]\d* reqs, CPU KV cache usage: \d+\.\d%, Prefix cache hit rate: \d+\.\d%"
)


class Reader:
    """A client that reads one answer, a stream unless told otherwise, in a thread of its own."""

    def __init__(self, server: Spawned, **changes: object) -> None:
        self.lines: list[str] = []
        self.started = threading.Event()
        self.status = 0
        self._body = {**ENDLESS, **changes}
        self._thread = threading.Thread(target=self._read, args=(server.url,))
        self._thread.start()

    def _read(self, url: str) -> None:
        with (
            httpx.Client(base_url=url, timeout=PATIENCE_s, verify=False) as client,  # no certificates to read
            client.stream("POST", "/v1/completions", json=self._body) as answer,
        ):
            self.status = answer.status_code
            for line in answer.iter_lines():
                self.lines.append(line)
                self.started.set()
        self.started.set()

    def result(self) -> list[str]:
        """The events' data, once the stream has ended."""
        self._thread.join(PATIENCE_s)
        assert not self._thread.is_alive()
        return [line.removeprefix("data: ") for line in self.lines if line]


@contextmanager
def readers(server: Spawned, count: int, **changes: object) -> Iterator[list[Reader]]:
    all_of_them = [Reader(server, **changes) for _ in range(count)]
    for reader in all_of_them:
        assert reader.started.wait(PATIENCE_s)
    yield all_of_them
    for reader in all_of_them:
        reader.result()


@contextmanager
def not_reading(server: Spawned) -> Iterator[None]:
    """A client that asked for a stream and does not read it."""
    with server.client() as client, client.stream("POST", "/v1/completions", json=ENDLESS):
        yield


def assert_nothing_is_left(server: Spawned, core: psutil.Process) -> None:
    assert not core.is_running() or core.status() == psutil.STATUS_ZOMBIE
    assert not list(Path("/dev/shm").glob(f"*{server.process.pid}*"))


def error_of(events: list[str]) -> str:
    """The message of the last event that holds an error."""
    (message,) = [json.loads(event)["error"]["message"] for event in events if '"error"' in event]
    return str(message)


def under_way(server: Spawned) -> float:
    """Requests that run or wait."""
    with server.client() as client:
        text = client.get("/metrics").text
    return sum(map(float, re.findall(r"^vllm:num_requests_(?:running|waiting)\{.*\} (\S+)$", text, re.M)))


def wait_until_under_way(server: Spawned, count: int) -> None:
    deadline_s = time.monotonic() + PATIENCE_s
    while (found := under_way(server)) != count:
        assert time.monotonic() < deadline_s, found


def wait_until_taken(server: Spawned, count: int) -> None:
    """Until so many requests have come, some of which may have ended."""
    deadline_s = time.monotonic() + PATIENCE_s
    while (found := server.ended("length") + under_way(server)) < count:
        assert time.monotonic() < deadline_s, found


def test_sigterm_under_load_lets_requests_end_within_the_timeout(tmp_path: Path) -> None:
    """16 run, 8 wait, unless some have ended already; half are streams. The log says so."""
    environment = {"TMPDIR": str(tmp_path), "VLLM_LOG_STATS_INTERVAL": "0.1"}
    with spawned("--shutdown-timeout", "600", environment=environment) as server:
        core = server.core
        asking = [Reader(server, max_tokens=300, stream=index % 2 == 0) for index in range(24)]
        wait_until_taken(server, 24)
        server.signal(signal.SIGTERM)
        server.wait_for("requests that run have 600 s to end.")
        answers = [reader.result() for reader in asking]
        for *_, last in answers[1::2]:
            assert json.loads(last)["usage"]["completion_tokens"] == 300
        for *_, last, done in answers[::2]:
            assert done == "[DONE]"
            assert json.loads(last)["choices"][0]["finish_reason"] == "length"
        with pytest.raises(httpx.ConnectError), server.client() as client:
            client.get("/health")
        assert server.exit_status() == 0
        assert_nothing_is_left(server, core)
        assert not list(tmp_path.iterdir())
        assert re.search(r"SIGTERM: the server stops; the ([1-9]\d*) requests that run", server.log)
        assert STATISTICS.search(server.log)
        assert "Application shutdown complete." in server.log


def test_a_helper_for_chats_is_started_ahead_and_ends_with_the_server() -> None:
    with spawned() as server:
        deadline_s = time.monotonic() + PATIENCE_s
        while not server.helpers:  # nobody has asked for anything
            assert time.monotonic() < deadline_s
        (helper,) = server.helpers
        server.signal(signal.SIGTERM)
        assert server.exit_status() == 0
        assert not helper.is_running()


def test_sigterm_during_the_start_leaves_nothing(tmp_path: Path) -> None:
    with starting("--port", "0", environment={"TMPDIR": str(tmp_path)}) as server:
        server.wait_for("Worker 0 runs on cpu")
        core = server.core
        assert list(tmp_path.glob("vllm-*"))
        server.signal(signal.SIGTERM)
        assert server.exit_status() == 0
        assert_nothing_is_left(server, core)
        assert not list(tmp_path.glob("vllm-*"))


def test_sigint_ends_requests_at_once_where_they_have_no_time() -> None:
    with spawned() as server:
        core = server.core
        with not_reading(server), readers(server, 3) as streams:
            server.signal(signal.SIGINT)
            for stream in streams:
                assert error_of(stream.result()) == "The server is shutting down."
            assert server.exit_status() == 0
        assert_nothing_is_left(server, core)


def test_a_second_signal_ends_the_wait_and_the_core_ignores_the_first() -> None:
    with spawned("--shutdown-timeout", "600") as server, readers(server, 1) as streams:
        server.core.send_signal(signal.SIGTERM)  # as to a whole process group
        server.signal(signal.SIGTERM)
        server.wait_for("SIGTERM: the server stops")
        server.signal(signal.SIGTERM)
        assert error_of(streams[0].result()) == "The server is shutting down."
        assert server.exit_status() == 0


def end_of(reader: Reader) -> str:
    """The error with which a stream ended, or an answer that was no stream: that says "try again" where the engine comes back."""
    events = reader.result()
    assert (reader.status, events[-1]) == (200, "[DONE]") or (reader.status, len(events)) == (503, 1)
    return error_of(events)


def test_a_killed_engine_ends_every_request_and_the_server_or_is_started_again(tmp_path: Path) -> None:
    with spawned("--restart-engine", "1", environment={"TMPDIR": str(tmp_path)}) as server:
        first = server.core
        with server.client() as client:
            client.post("/v1/completions", json={"prompt": "x"})
        before = server.descriptors()
        with readers(server, 12) as streams, server.client() as client:
            others = [Reader(server, stream=index % 2 == 0) for index in range(12)]  # some run, some wait
            wait_until_under_way(server, 24)
            first.kill()
            for reader in streams + others:
                assert "engine has stopped" in end_of(reader)
            server.wait_for("is started again; 0 restarts are left.")
            refused = client.post("/v1/completions", json={"prompt": "x"})
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
            assert client.get("/health").status_code == 503
            server.wait_for("The engine runs again.")
            assert client.get("/health").status_code == 200
            assert client.post("/v1/completions", json={"prompt": "x"}).status_code == 200
        assert under_way(server) == 0
        deadline_s = time.monotonic() + PATIENCE_s
        while any(map(operator.gt, after := server.descriptors(), before)) and time.monotonic() < deadline_s:
            under_way(server)
        assert not any(map(operator.gt, after, before)), (after, before)
        second = server.core
        with not_reading(server), readers(server, 4) as streams:
            second.kill()
            for stream in streams:
                assert "engine has stopped" in end_of(stream)
            assert server.exit_status() == 1
        assert "SIGKILL" in server.log
        for core in (first, second):
            assert_nothing_is_left(server, core)
        assert not list(tmp_path.iterdir())
