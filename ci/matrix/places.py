"""Where a cell runs: an environment that holds the wheels of its two packages, above one that all cells of a stack share.

torch is large, so it lies in the shared one below, which holds nothing of ours and is made once. The cell's own holds only
the wheels and what the shared one lacks; it is made afresh for every run, in seconds.
"""

from __future__ import annotations

import re
import shutil
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name, parse_wheel_filename

from ci.environments import CONSTRAINTS, Environment, Recipe, clean_environ, ensure
from ci.matrix.cells import Cell
from ci.matrix.declared import Declared, Stack
from ci.matrix.locks import locked
from ci.packages import CORE, ROOT
from ci.processes import Ending, run_said
from ci.recipes import LIGHT, TESTING

__all__ = [
    "NotInstallable",
    "Place",
    "above",
    "make_place",
    "remove_place",
    "slug",
    "stack_constraints",
    "wheel_version",
]

_LIMIT_S = 1800


class NotInstallable(RuntimeError):
    """pip cannot install the wheels beside this stack; the message is pip's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """An environment in a folder of its own, where a cell may also leave things."""

    environment: Environment
    folder: Path

    @property
    def scripts(self) -> Path:
        return self.environment.path / "bin"


def slug(name: str) -> str:
    """A cell's name as a file name: `plugin(ascend, core=0.1.0, py=3.11)` is `plugin-ascend-core=0.1.0-py=3.11`."""
    return re.sub(r"[^\w.=]+", "-", name).strip("-")


def make_place(cell: Cell, wheels: list[Path], declared: Declared, cache: Path, *, refused: bool = False) -> Place:
    """The cell's environment with the wheels in it; a pair that pip would refuse comes without what it depends on.

    Raises:
        NotInstallable: the wheels do not go together with the stack.
        InterpreterMissing: this machine has no such Python.
    """
    with locked(cache / "stacks" / "one-at-a-time"):
        below = _shared(cell, declared, cache, with_torch=cell.variant.torch and not refused)
    folder = _folder(cell, cache)
    shutil.rmtree(folder, ignore_errors=True)
    environment = above(below, folder / "environment")
    options = ["--no-deps"] if refused or not cell.variant.torch else ["-c", str(below.constraints)]
    _pip(below, environment, [*options, *map(str, wheels)])
    return Place(environment=environment, folder=folder)


def remove_place(cell: Cell, cache: Path) -> None:
    """Take away what `make_place` made of the cell; what its stack shares stays, and the empty file that others may wait at."""
    folder = _folder(cell, cache)
    if folder.is_dir():  # a cell that could not be built has none
        shutil.rmtree(folder)


def _folder(cell: Cell, cache: Path) -> Path:
    return cache / "cells" / slug(cell.name)


def _shared(cell: Cell, declared: Declared, cache: Path, *, with_torch: bool) -> Environment:
    """The stack's environment, made where it is missing or its recipe has changed."""
    stack = cell.stack
    if not with_torch:
        recipe = Recipe(python=stack.python, requirements=(*LIGHT, *TESTING))
        return ensure(cache / "stacks" / f"py{stack.python}-notorch", recipe)
    alone = tuple(f"{need.package}=={stack.torch}" for need in cell.variant.needs if need.package)
    name = "-".join([f"py{stack.python}-torch{stack.torch}-transformers{stack.transformers}", *map(slug, alone)])
    recipe = Recipe(
        python=stack.python,
        requirements=(*_needed_by_core(), *TESTING, f"torch=={stack.torch}", f"transformers=={stack.transformers}"),
        alone=alone,
        constraints=stack_constraints(stack, declared, cache),
    )
    return ensure(cache / "stacks" / name, recipe)


def _needed_by_core() -> list[str]:
    project = tomllib.loads((ROOT / CORE.folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return list(project["dependencies"])


def stack_constraints(stack: Stack, declared: Declared, cache: Path) -> Path:
    """CI's constraints; for another torch or transformers without what that release pins for itself."""
    loose: set[str] = set()
    if stack.torch != declared.main.torch:
        loose |= {"torch", *declared.unpinned.get("torch", ())}
    if stack.transformers != declared.main.transformers:
        loose |= {"transformers", *declared.unpinned.get("transformers", ())}
    if not loose:
        return CONSTRAINTS
    lines = [line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if not _pins(line, loose)]
    file = cache / "constraints" / f"torch{stack.torch}-transformers{stack.transformers}.txt"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([*lines, f"torch=={stack.torch}", f"transformers=={stack.transformers}"]) + "\n")
    return file


def _pins(line: str, names: set[str]) -> bool:
    if not line or line.startswith("#"):
        return False
    return canonicalize_name(Requirement(line).name) in {canonicalize_name(name) for name in names}


def above(below: Environment, path: Path) -> Environment:
    """An environment without pip that also sees what lies in the one below."""
    ending, said = _said(below.python, "-m", "venv", "--without-pip", path)
    if ending.code != 0:
        raise NotInstallable(said)
    (above,) = path.glob("lib/python*/site-packages")
    (site,) = below.path.glob("lib/python*/site-packages")
    (above / "below.pth").write_text(f"{site}\n", encoding="utf-8")
    return Environment(path=path, constraints=below.constraints)


def _pip(below: Environment, above: Environment, arguments: list[str]) -> None:
    ending, said = _said(below.python, "-m", "pip", "--python", above.python, "install", "--quiet", *arguments)
    if ending.code != 0:
        raise NotInstallable(f"{said}\npip took too long" if ending.code is None else said)


def _said(*command: str | Path) -> tuple[Ending, str]:
    return run_said([str(part) for part in command], folder=ROOT, env=clean_environ(), limit_s=_LIMIT_S)


def wheel_version(wheel: Path) -> str:
    """The version in a wheel's file name."""
    return str(parse_wheel_filename(wheel.name)[1])
