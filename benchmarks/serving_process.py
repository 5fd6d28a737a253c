"""Owns one `vllm serve` on loopback for benchmarks: started, asked for its numbers, looked at from outside, always ended.

What it holds is read from /proc (Linux): resident memory, descriptors and threads of the API process and of the engine core.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Holdings", "Serving", "serving"]

PATIENCE_s = 120.0
_URL = re.compile(r"Starting vLLM server on (\S+)")
_READY = "Application startup complete."
_FIELDS = ("processes", "rss_bytes", "descriptors", "threads")
_LOAD = ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc")


@dataclass(frozen=True, kw_only=True, slots=True)
class Holdings:
    """What some processes hold at one moment."""

    processes: int = 0
    rss_bytes: int = 0
    descriptors: int = 0
    threads: int = 0

    def __add__(self, other: Holdings) -> Holdings:
        return Holdings(**{name: getattr(self, name) + getattr(other, name) for name in _FIELDS})


class Serving:
    """A running server, with temporary files of its own folder and its log in another."""

    def __init__(self, flags: Sequence[str], folder: Path) -> None:
        self._temporary = folder / "tmp"
        self._temporary.mkdir()
        self._log = folder / "log"
        words = ["vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", "0", *flags]
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *words],
                stdin=subprocess.DEVNULL,
                stderr=log,
                stdout=log,
                env=os.environ | {"TMPDIR": str(self._temporary)},
            )
        self.url = ""
        self._seen = {self.process.pid: "api"}

    def wait_until_ready(self) -> None:
        """Until it takes connections at `url`. Ends the program, with the log, if it does not come up."""
        deadline_s = time.monotonic() + PATIENCE_s
        while _READY not in self.log:
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise SystemExit(f"The server did not start:\n{self.log}")
            time.sleep(0.05)
        self.url = _URL.findall(self.log)[-1]

    @property
    def log(self) -> str:
        """What it has written."""
        return self._log.read_text(errors="replace")

    def holdings(self) -> dict[str, Holdings]:
        """What each of its processes holds now: `api`, and those below it by name; several of one name together."""
        held: dict[str, Holdings] = {}
        for pid, name in self._processes().items():
            held[name] = held.get(name, Holdings()) + _holdings(pid)
        return held

    def load(self) -> dict[str, float]:
        """Running, waiting and KV-cache use, as /metrics tells them."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE_s) as answer:
            text = answer.read().decode()
        return {name: sum(map(float, re.findall(rf"^vllm:{name}{{.*}} (\S+)$", text, re.M))) for name in _LOAD}

    def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_s)

    def left_behind(self) -> list[str]:
        """Processes, shared memory and temporary files that are still there after its end."""
        processes = [f"process {name} {pid}" for pid, name in self._seen.items() if Path(f"/proc/{pid}").exists()]
        files = [path for folder in (self._temporary, Path("/dev/shm")) for path in folder.iterdir()]
        return processes + [str(path) for path in files if self._is_ours(path)]

    def _is_ours(self, path: Path) -> bool:
        """In our own folder, or named after one of our processes."""
        return path.parent == self._temporary or any(str(pid) in path.name for pid in self._seen)

    def _processes(self) -> dict[int, str]:
        now = {self.process.pid: "api"} | {pid: _name(pid) for pid in _descendants(self.process.pid)}
        self._seen |= now
        return now


@contextmanager
def serving(*flags: str) -> Iterator[Serving]:
    """`vllm serve --port 0` with these flags, ready; ended and cleaned up whatever happens, SIGTERM included. For the main thread."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with tempfile.TemporaryDirectory() as folder:
        server = Serving(flags, Path(folder))
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.process.kill()  # its core notices and ends
            server.process.wait()


def _descendants(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").iterdir()
    children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    return children + [below for child in children for below in _descendants(child)]


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text().strip()


def _holdings(pid: int) -> Holdings:
    told = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Holdings(
        processes=1,
        rss_bytes=int(told["VmRSS"].split()[0]) * 1024,
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(told["Threads"]),
    )
