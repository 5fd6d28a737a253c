"""Owns clean environments for wheels: only what their metadata asks for is there, and the wheels themselves.

torch is large, so what wheels ask for is installed once per set of names; an environment for wheels is a layer above it,
empty but for them. A dependency that metadata forgets is missing there, as it would be for a user.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from packaging.utils import canonicalize_name

from ci.environments import Environment, Recipe, ensure
from ci.matrix.places import above
from ci.packages import PACKAGES, ROOT
from ci.recipes import MAIN_PYTHON, ONE_THREAD
from ci.wheel_metadata import requirements
from ci.wheels import Outcome, run_there

__all__ = ["BASES", "attempt", "clean_environment", "third_party"]

BASES = ROOT / ".nox" / "bases"
_OURS = frozenset(entry.distribution for entry in PACKAGES)
_LIMIT_S = 3600


def third_party(wheels: Iterable[Path]) -> tuple[str, ...]:
    """Names of the distributions of others that the wheels ask for on this machine, without extras."""
    wanted = {canonicalize_name(each.name) for wheel in wheels for each in requirements(wheel)}
    return tuple(sorted(wanted - _OURS))


def _base(names: Sequence[str], alone: Sequence[str]) -> Environment:
    key = hashlib.sha256("\0".join([*names, "", *alone]).encode()).hexdigest()[:10]
    return ensure(BASES / key, Recipe(python=MAIN_PYTHON, requirements=tuple(names), alone=tuple(alone)))


def clean_environment(
    path: Path, wheels: Sequence[Path], *, more: Sequence[str] = (), alone: Sequence[str] = ()
) -> Environment:
    """A new environment at `path` with these wheels, what they ask for, and nothing else.

    `more` is what the wheels need but cannot name; `alone` likewise, without dependencies (torch-npu). Raises
    `CalledProcessError` where pip finds that the wheels ask for what is not there or not in their range.
    """
    base = _base(sorted({*third_party(wheels), *more}), alone)
    shutil.rmtree(path, ignore_errors=True)
    environment = above(base, path)
    environment.install("--no-index", *wheels)
    return environment


def attempt(environment: Environment, home: Path, command: Sequence[str | Path], **variables: str) -> Outcome:
    """Run a command of the environment in the folder `home`; its own scripts come first on the path."""
    home.mkdir(parents=True, exist_ok=True)
    path = f"{environment.path / 'bin'}:{os.environ['PATH']}"
    return run_there(home, *command, env={**ONE_THREAD, "PATH": path, **variables}, limit_s=_LIMIT_S)
