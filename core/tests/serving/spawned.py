"""A server as users start it: `vllm serve` in a process of its own on 127.0.0.1, ended whatever happens."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO

import httpx
import psutil

__all__ = ["FLAGS", "Spawned", "raw_request", "spawned", "starting"]

FLAGS = ("--max-num-seqs", "16", "--num-gpu-blocks-override", "600", "--dtype", "float32")
START_s = 120.0
_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "1", "VLLM_LOGGING_LEVEL": "INFO"}
"""Whatever other tests of this process have left."""
_READY = "Application startup complete."
_URL = re.compile(r"Starting vLLM server on (\S+)")


class Spawned:
    """A running server: its address, its log, its processes."""

    def __init__(self, words: tuple[str, ...], environment: Mapping[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *words],
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            env=os.environ | _ENVIRONMENT | environment,
        )
        self.lines: list[str] = []
        self._news: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        assert self.process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()

    def wait_until_ready(self) -> None:
        """Until it takes connections. Fails with the log if it ends first."""
        self.wait_for(_READY)
        found = _URL.search(self.log)
        assert found is not None
        self.url = found[1].replace("0.0.0.0", "127.0.0.1")

    def wait_for(self, words: str) -> None:
        """Until a line of the log that nobody has waited for yet holds the words."""
        while (line := self._news.get(timeout=START_s)) is not None:
            if words in line:
                return
        raise AssertionError(f"The server ended with {self.process.wait()} before it said {words!r}:\n{self.log}")

    @property
    def log(self) -> str:
        return "\n".join(self.lines)

    @property
    def core(self) -> psutil.Process:
        """The engine core's process."""
        (core,) = [each for each in psutil.Process(self.process.pid).children() if "EngineCore" in each.name()]
        return core

    @property
    def helpers(self) -> list[psutil.Process]:
        """The processes in which it renders templates and compiles grammars; they come when they are needed, and stay."""
        return [
            each
            for each in psutil.Process(self.process.pid).children()
            if "vllm.executor.helper_main" in each.cmdline()
        ]

    def descriptors(self) -> list[int]:
        """How many the API process, without one for each of its helpers, and the engine core have open."""
        return [psutil.Process(self.process.pid).num_fds() - len(self.helpers), self.core.num_fds()]

    def ended(self, *reasons: str) -> int:
        """Outputs that have ended for one of these reasons."""
        with self.client() as client:
            text = client.get("/metrics").text
        found = re.findall(r'^vllm:request_success_total\{.*finished_reason="(\w+)".*\} (\S+)$', text, re.M)
        return sum(int(float(count)) for reason, count in found if reason in reasons)

    def client(self, **more: object) -> httpx.Client:
        """For requests to this server; closes with its `with`."""
        return httpx.Client(**{"base_url": self.url, "timeout": 60.0, **more})  # type: ignore[arg-type]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_status(self) -> int:
        """How it ended; waits for it."""
        status = self.process.wait(60)
        self._reader.join(60)
        return status

    def end(self) -> None:
        """Leave nothing."""
        descendants = psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []
        self.process.kill()
        self.process.wait()
        self._reader.join(60)
        for each in descendants:
            if each.is_running():
                each.kill()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                self.lines.append(line.rstrip("\n"))
                self._news.put(line)
        self._news.put(None)


def raw_request(body: Mapping[str, object], path: str = "/v1/completions") -> bytes:
    """As it goes over the wire."""
    data = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


@contextmanager
def starting(*flags: str, environment: Mapping[str, str] | None = None) -> Iterator[Spawned]:
    """`vllm serve` with these flags, that has just been started."""
    server = Spawned((*FLAGS, *flags), environment or {})
    try:
        yield server
    finally:
        server.end()
        print(server.log)  # shown where the test failed


@contextmanager
def spawned(*flags: str, environment: Mapping[str, str] | None = None) -> Iterator[Spawned]:
    """`vllm serve --host 127.0.0.1 --port 0` with more flags, ready; without an address where the flags give another."""
    address = () if "--uds" in flags else ("--host", "127.0.0.1", "--port", "0")
    with starting(*address, *flags, environment=environment) as server:
        server.wait_until_ready()
        yield server
