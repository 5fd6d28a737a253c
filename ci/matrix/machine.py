"""What this machine has, asked once: Pythons, CPU builds on its package index, programs, devices; and what a cell lacks of it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import Version

from ci.interpreters import find_interpreter
from ci.matrix.cells import Cell
from ci.matrix.declared import Need

__all__ = ["Machine", "brings_cuda"]

_PATIENCE_S = 300


@dataclass(kw_only=True, slots=True)
class Machine:
    """Answers are kept: an index is asked once for each Python and version."""

    _pythons: dict[str, Path | None] = field(default_factory=dict)
    _builds: dict[tuple[str, str], str | None] = field(default_factory=dict)

    def lacks(self, cell: Cell) -> str | None:
        """Why the cell cannot run here; None where it can."""
        return next(self._reasons(cell), None)

    def _reasons(self, cell: Cell) -> Iterator[str]:
        """Cheap questions first."""
        yield from (source.missing for source in (cell.core, cell.release) if source.missing)
        yield from (need.by_hand for need in cell.variant.needs if need.by_hand)
        python = self._python(cell.stack.python)
        if python is None:
            yield f"no Python {cell.stack.python} here: neither `python{cell.stack.python}` nor one of pyenv starts"
            return
        yield from (reason for need in cell.variant.needs if (reason := _absent(need)))
        wanted = [f"torch=={cell.stack.torch}"] if cell.variant.torch else []
        wanted += [f"{need.package}=={cell.stack.torch}" for need in cell.variant.needs if need.package]
        yield from (reason for each in wanted if (reason := self._build(python, each)))

    def _python(self, version: str) -> Path | None:
        if version not in self._pythons:
            self._pythons[version] = find_interpreter(version)
        return self._pythons[version]

    def _build(self, python: Path, requirement: str) -> str | None:
        """Why pip cannot install this for a CPU; None where it can."""
        key = (str(python), requirement)
        if key not in self._builds:
            self._builds[key] = _why_not(python, requirement)
        return self._builds[key]


def _absent(need: Need) -> str | None:
    """Why a program or a device is missing; None where it is there, or where the need is of another kind."""
    if need.device and not Path(need.device).exists():
        return f"{need.absent}: there is no {need.device}"
    if need.program and (found := _version_of(need.program)) < Version(need.version or "0"):
        seen = "is not installed" if found == Version("0") else f"is {found}"
        return f"needs {need.program} {need.version} or newer, which {seen}"
    return None


def _version_of(program: str) -> Version:
    """0 where the program is missing or says no version."""
    path = shutil.which(program)
    if path is None:
        return Version("0")
    done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=_PATIENCE_S, check=False)
    found = re.search(r"\b(\d+\.\d+(\.\d+)?)\b", done.stdout)
    return Version(found[1]) if found else Version("0")


def _why_not(python: Path, requirement: str) -> str | None:
    version = f"Python {'.'.join(_python_version(python))}"
    command = [
        python,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--no-deps",
        "--ignore-installed",
        "--quiet",
        "--report",
        "-",
    ]
    try:
        done = subprocess.run(
            [*map(str, command), requirement], capture_output=True, text=True, timeout=_PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"pip did not say within {_PATIENCE_S} s whether there is a {requirement} for {version}"
    if done.returncode:
        said = [line.removeprefix("ERROR: ") for line in done.stderr.splitlines() if line.startswith("ERROR")]
        return f"pip finds no {requirement} for {version}: {said[-1] if said else done.stderr.strip()[-200:]}"
    (found,) = json.loads(done.stdout)["install"]
    if cuda := brings_cuda(found):
        return f"no CPU build of {requirement} for {version} is where pip looks: the one there brings {cuda}"
    return None


def _python_version(python: Path) -> tuple[str, str]:
    code = "import sys; print(*sys.version_info[:2])"
    major, minor = subprocess.check_output([python, "-c", code], text=True).split()
    return major, minor


def brings_cuda(found: dict[str, Any]) -> str | None:
    """The first of an accelerator's libraries that a candidate in pip's report requires; None for a build for CPUs."""
    names = (Requirement(text).name for text in found["metadata"].get("requires_dist", ()) if "extra ==" not in text)
    return next((name for name in names if name.startswith(("nvidia-", "cuda-"))), None)
