"""Finds an installed Python by its minor version. A shim that only prints an error does not count as installed."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

__all__ = ["find_interpreter"]


def _candidates(version: str) -> Iterator[Path]:
    on_path = shutil.which(f"python{version}")
    if on_path is not None:
        yield Path(on_path)
    versions = Path.home() / ".pyenv" / "versions"
    yield from sorted(versions.glob(f"{version}.*/bin/python"), reverse=True)


def _version_of(python: Path) -> str | None:
    """`major.minor` as the interpreter itself says it; `None` when it does not start."""
    code = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"
    try:
        done = subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def find_interpreter(version: str) -> Path | None:
    """A Python of this `major.minor` that starts and can create virtual environments; `None` where there is none."""
    return next((python for python in _candidates(version) if _version_of(python) == version), None)
