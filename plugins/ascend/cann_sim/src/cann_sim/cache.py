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
_DAY_S = 24 * 3600
_KEPT_OBJECTS_S = 14 * _DAY_S


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
    """Forget objects that no build used for two weeks, and toolkits but for the newest and those of today, which may be in use."""
    newest_first = sorted(toolkits.iterdir(), key=_made_s, reverse=True)
    for old in newest_first[_KEPT_TOOLKITS:]:
        if _made_s(old) < time.time() - _DAY_S:
            shutil.rmtree(old)
    for path in objects.iterdir():
        if _made_s(path) < time.time() - _KEPT_OBJECTS_S:
            path.unlink()


def _made_s(path: Path) -> float:
    return path.stat().st_mtime
