"""A command with a time limit, whose whole tree of processes ends with it, also those that left its process group."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["Ending", "ended", "heed_termination", "run_limited", "run_said"]

_MARK = "VLLM_CI_CELL"
"""A variable that every process of a command inherits, and by which those are found that outlive it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ending:
    """How a command ended. `code` is None where its time ran out."""

    code: int | None
    seconds: float


def ended(code: int | None) -> str:
    """An exit status in words."""
    return "over its time" if code is None else f"ended with {code}"


def run_limited(command: Sequence[str], *, folder: Path, env: Mapping[str, str], log: Path, limit_s: float) -> Ending:
    """Run the command, its output appended to `log`; whatever of it still lives afterwards is killed."""
    mark = uuid.uuid4().hex
    started_s = time.monotonic()
    with log.open("ab") as out:
        out.write(_told(command).encode())
        out.flush()
        process = subprocess.Popen(
            command, cwd=folder, env={**env, _MARK: mark}, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
            start_new_session=True,
        )  # fmt: skip
        try:
            code: int | None = process.wait(timeout=limit_s)
        except subprocess.TimeoutExpired:
            code = None
            out.write(f"\nended after {limit_s:.0f} s, its limit\n".encode())
        finally:
            _end_all(mark)
            process.wait()
    return Ending(code=code, seconds=time.monotonic() - started_s)


def _told(command: Sequence[str]) -> str:
    return f"$ {' '.join(command)}\n"


def run_said(command: Sequence[str], *, folder: Path, env: Mapping[str, str], limit_s: float) -> tuple[Ending, str]:
    """The same, and what it said instead of a log."""
    with TemporaryDirectory() as scratch:
        log = Path(scratch) / "log.txt"
        ending = run_limited(command, folder=folder, env=env, log=log, limit_s=limit_s)
        said = log.read_text(encoding="utf-8", errors="replace")
        return ending, said.removeprefix(_told(command)).strip()


def heed_termination() -> None:
    """Let this process end through every `finally` when it is told to end, so that what it runs ends too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _end_all(mark: str) -> None:
    """Kill until none is left: one may start another meanwhile."""
    while living := list(_marked(mark)):
        for process in living:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue  # it ended by itself
        time.sleep(0.05)


def _marked(mark: str) -> Iterator[int]:
    """Processes that carry the mark. A zombie has no environment any more; other users' processes cannot be read."""
    wanted = f"{_MARK}={mark}".encode()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if wanted in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)
            except OSError:
                continue  # ended, or not ours
