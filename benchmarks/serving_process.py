"""Owns one `vllm serve` on loopback for benchmarks: started, asked for its numbers, looked at from outside, always ended.

What it holds: resident memory, descriptors and threads of the API process and of those below it.
"""

from __future__ import annotations

import contextlib
import re
import sys
import tempfile
import urllib.request
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from server_process import ServerProcess

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
        words = ["vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", "0", *flags]
        self.process = ServerProcess([sys.executable, "-m", *words], folder / "log", {"TMPDIR": str(self._temporary)})
        self.url = ""
        self._seen = {self.process.pid: "api"}

    def wait_until_ready(self) -> None:
        """Until it takes connections at `url`. Ends the program, with the log, if it does not come up."""
        self.process.wait_until(lambda: _READY in self.log, PATIENCE_s)
        self.url = _URL.findall(self.log)[-1]

    @property
    def log(self) -> str:
        """What it has written."""
        return self.process.said

    def holdings(self) -> dict[str, Holdings]:
        """What each of its processes holds now: `api`, and those below it by name; several of one name together."""
        held: dict[str, Holdings] = {}
        for each in self.process.tree():
            with contextlib.suppress(psutil.NoSuchProcess):  # it has just ended
                name = "api" if each.pid == self.process.pid else each.name()
                self._seen[each.pid] = name
                held[name] = held.get(name, Holdings()) + _holdings(each)
        return held

    def in_words(self) -> str:
        """Which threads and descriptors each process has: what to look at when there are more than there were."""
        return "\n".join(f"  {each.name()}: {_in_words(each.pid)}" for each in self.process.tree())

    def load(self) -> dict[str, float]:
        """Running, waiting and KV-cache use, as /metrics tells them."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=PATIENCE_s) as answer:
            text = answer.read().decode()
        return {name: sum(map(float, re.findall(rf"^vllm:{name}{{.*}} (\S+)$", text, re.M))) for name in _LOAD}

    def stop(self) -> int:
        """SIGTERM; gives the exit status."""
        return self.process.stop(PATIENCE_s)

    def left_behind(self) -> list[str]:
        """Processes, shared memory and temporary files that are still there after its end."""
        processes = [f"process {name} {pid}" for pid, name in self._seen.items() if Path(f"/proc/{pid}").exists()]
        files = [path for folder in (self._temporary, Path("/dev/shm")) for path in folder.iterdir()]
        return processes + [str(path) for path in files if self._is_ours(path)]

    def _is_ours(self, path: Path) -> bool:
        """In our own folder, or named after one of our processes."""
        return path.parent == self._temporary or any(str(pid) in path.name for pid in self._seen)


@contextmanager
def serving(*flags: str) -> Iterator[Serving]:
    """`vllm serve --port 0` with these flags, ready; ended and cleaned up whatever happens, SIGTERM included. For the main thread."""
    with tempfile.TemporaryDirectory() as folder:
        server = Serving(flags, Path(folder))
        try:
            server.wait_until_ready()
            yield server
        finally:
            server.process.end()


def _in_words(pid: int) -> str:
    """ "2 python, 1 ZMQbg/IO/0; 6 anon_inode:[eventpoll], 2 socket"."""
    found: tuple[Counter[str], Counter[str]] = Counter(), Counter()
    with contextlib.suppress(OSError):  # it has just ended
        found[0].update((task / "comm").read_text().strip() for task in Path(f"/proc/{pid}/task").iterdir())
        links = (str(each.readlink()) for each in Path(f"/proc/{pid}/fd").iterdir())
        found[1].update(link if link.startswith("anon") else link.partition(":[")[0] for link in links)
    return "; ".join(", ".join(f"{count} {name}" for name, count in each.most_common()) for each in found)


def _holdings(process: psutil.Process) -> Holdings:
    with process.oneshot():
        return Holdings(
            processes=1,
            rss_bytes=process.memory_info().rss,
            descriptors=process.num_fds(),
            threads=process.num_threads(),
        )
