"""Owns where what is compiled lies, the lock that lets one process build at a time, and what is thrown away."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["locked", "prune", "root"]

_KEPT_TOOLKITS = 4
_KEPT_OBJECTS_S = 14 * 24 * 3600


def root() -> Path:
    """`$VLLM_CACHE_ROOT/cann_sim`, where `VLLM_CACHE_ROOT` is by default `$XDG_CACHE_HOME/vllm` or `~/.cache/vllm`."""
    named = os.environ.get("VLLM_CACHE_ROOT")
    if named:
        return Path(named).expanduser() / "cann_sim"
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "vllm" / "cann_sim"


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time holds `folder`; the kernel lets go when that process ends, however it ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def prune(toolkits: Path, objects: Path) -> None:
    """Forget all but the newest toolkits, and objects that no build used for two weeks."""
    newest_first = sorted(toolkits.iterdir(), key=lambda path: path.stat().st_mtime, reverse=True)
    for old in newest_first[_KEPT_TOOLKITS:]:
        shutil.rmtree(old)
    oldest_s = time.time() - _KEPT_OBJECTS_S
    for path in objects.iterdir():
        if path.stat().st_mtime < oldest_s:
            path.unlink()
