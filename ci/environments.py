"""The virtual environments that sessions share, made once and made afresh when their recipe changes.

torch is large, so one environment with torch serves types, core and every plugin. Each environment carries a stamp,
the digest of its recipe: the same recipe means that there is nothing to do, but to compile what was changed of a package.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from ci.extensions import BUILT, LEFT_OUT, is_current
from ci.interpreters import find_interpreter
from ci.packages import ROOT, Package

__all__ = ["CONSTRAINTS", "Environment", "InterpreterMissing", "Recipe", "clean_environ", "create", "ensure", "run"]

CONSTRAINTS = ROOT / "ci" / "constraints.txt"
_STAMP = "recipe.sha256"
_BUILDERS = ("setuptools", "setuptools-scm")
"""What our packages are built with: there already, it need not be installed anew for each of them."""
_LEAKING = frozenset(
    {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "VLLM_PLUGINS", "VLLM_PLATFORM", "VLLM_CPU_REF_NATIVE", *BUILT}
    | {"PYTHONOPTIMIZE", "PYTEST_ADDOPTS", "PYTEST_PLUGINS"}  # no asserts, fewer tests: green for nothing
    # Nothing is compiled at installation: unless the first process keeps what it compiled, each that imports torch takes
    # three seconds more, and tests start hundreds of them.
    | {"PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"}
    # A hook of git sets these, and then every git command, also one in a clone, means the caller's repository.
    | {"GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX", "GIT_COMMON_DIR", "GIT_OBJECT_DIRECTORY"}
    | {"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_SHALLOW_FILE"}
)


class InterpreterMissing(RuntimeError):
    """This machine has no Python of the wanted version."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """What an environment holds.

    `bare` packages come without their dependencies, so that `requirements` alone says what else is there; so do the
    requirements in `alone`. `constraints` pins what is not said.
    """

    python: str
    requirements: tuple[str, ...]
    packages: tuple[Package, ...] = ()
    bare: bool = False
    alone: tuple[str, ...] = ()
    constraints: Path = CONSTRAINTS

    def digest(self) -> str:
        """Changes with everything that decides the content, the packages' metadata included."""
        metadata = [(entry.path / "pyproject.toml").read_text() for entry in self.packages]
        texts = [
            self.python,
            *_BUILDERS,
            *self.requirements,
            str(self.bare),
            *self.alone,
            self.constraints.read_text(),
            *metadata,
        ]
        return hashlib.sha256("\0".join(texts).encode()).hexdigest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Environment:
    """A virtual environment on disk."""

    path: Path
    constraints: Path = CONSTRAINTS

    @property
    def python(self) -> Path:
        return self.path / "bin" / "python"

    def script(self, name: str) -> Path:
        """A console script that some distribution installed there, e.g. `vllm`."""
        return self.path / "bin" / name

    def install(self, *arguments: str | Path, env: Mapping[str, str] = MappingProxyType({})) -> None:
        """pip install through the constraints that name what is tested; what is never imported is not compiled."""
        pip = (self.python, "-m", "pip", "install", "--quiet", "--no-compile", "-c", self.constraints)
        run(*pip, *arguments, env=env)


def clean_environ() -> dict[str, str]:
    """The caller's environment without what lets another installation, platform or repository leak in, or leaves out tests."""
    return {key: value for key, value in os.environ.items() if key not in _LEAKING}


def run(*command: str | Path, env: Mapping[str, str] = MappingProxyType({})) -> None:
    """Run a command at the repository's root; raises `CalledProcessError` when it fails."""
    print("$", *command, flush=True)
    subprocess.run([str(part) for part in command], check=True, cwd=ROOT, env=clean_environ() | dict(env))


def create(path: Path, python: str) -> Environment:
    """An empty virtual environment at `path`, replacing what was there."""
    interpreter = find_interpreter(python)
    if interpreter is None:
        raise InterpreterMissing(f"no Python {python} here: neither `python{python}` nor one of pyenv starts")
    shutil.rmtree(path, ignore_errors=True)
    run(interpreter, "-m", "venv", path)
    return Environment(path=path)


def ensure(path: Path, recipe: Recipe) -> Environment:
    """The environment at `path` as `recipe` says, the packages installed editable."""
    environment, stamp = Environment(path=path, constraints=recipe.constraints), path / _STAMP
    if not stamp.is_file() or stamp.read_text() != recipe.digest():
        create(path, recipe.python)
        _fill(environment, recipe)
        stamp.write_text(recipe.digest())
    if not recipe.bare:  # without torch nobody can load what is compiled
        _compile(environment, recipe.packages)
    return environment


def _fill(environment: Environment, recipe: Recipe) -> None:
    if recipe.bare:
        environment.install(*_BUILDERS, *recipe.requirements)
        _build(environment, recipe.packages, LEFT_OUT)
    else:
        if recipe.packages:
            environment.install(*_BUILDERS)
            _build(environment, recipe.packages, LEFT_OUT)
        environment.install(*recipe.requirements, *(entry.distribution for entry in recipe.packages))
    if recipe.alone:
        environment.install("--no-deps", *recipe.alone)


def _compile(environment: Environment, packages: Sequence[Package]) -> None:
    """Build what packages hold of compiled modules, unless another environment has done so since their sources changed."""
    _build(environment, [entry for entry in packages if not is_current(entry)], BUILT)


def _build(environment: Environment, packages: Sequence[Package], env: Mapping[str, str]) -> None:
    """Install the packages editable, without what they depend on."""
    if packages:
        editable = (f"--editable=./{entry.folder}" for entry in packages)
        environment.install("--no-build-isolation", "--no-deps", *editable, env=env)
