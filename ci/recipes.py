"""Which environments CI has, and what is in each."""

from __future__ import annotations

import os
from types import MappingProxyType

from ci.environments import Environment, Recipe, ensure
from ci.packages import CORE, PACKAGES, ROOT, package

__all__ = ["MAIN_PYTHON", "ONE_THREAD", "docs", "source_path", "tools", "torch", "without_torch"]

MAIN_PYTHON = "3.11"
ONE_THREAD = MappingProxyType({"OMP_NUM_THREADS": "1"})

_TESTING = ("pytest", "pytest-timeout", "hypothesis", "xxhash")
_LIGHT = (
    "numpy",
    "msgspec",
    "jinja2",
    "packaging",
    "tqdm",
    "pyyaml",
    "psutil",
    "prometheus-client",
    "typing-extensions",
)
_READING = ("import-linter", "griffelib")
_BUILDING = ("build", "setuptools", "setuptools-scm", "towncrier")


def tools() -> Environment:
    """Linters, builders and pytest; nothing of ours is installed."""
    requirements = ("ruff", *_READING, *_BUILDING, *_TESTING)
    return ensure(ROOT / ".nox" / "tools", Recipe(python=MAIN_PYTHON, requirements=requirements))


def torch() -> Environment:
    """Everything: core and all plugins editable, with torch, pytest and mypy."""
    requirements = ("torch", "mypy", "types-PyYAML", "pytest-xdist", "nox", *_READING, *_BUILDING, *_TESTING)
    return ensure(ROOT / ".nox" / "torch", Recipe(python=MAIN_PYTHON, requirements=requirements, packages=PACKAGES))


def without_torch(python: str) -> Environment:
    """Core and cpu_ref bare, with those of their dependencies that are light; raises `InterpreterMissing`."""
    recipe = Recipe(python=python, requirements=(*_LIGHT, *_TESTING), packages=(CORE, package("cpu_ref")), bare=True)
    return ensure(ROOT / ".nox" / f"notorch-{python}", recipe)


def docs() -> Environment:
    """What builds the documentation; nothing of ours is installed."""
    return ensure(ROOT / ".nox" / "docs", Recipe(python=MAIN_PYTHON, requirements=("zensical",)))


def source_path() -> dict[str, str]:
    """Lets a tool import the packages from their sources, where they are not installed."""
    folders = [ROOT, *(entry.path / "src" for entry in PACKAGES)]
    return {"PYTHONPATH": os.pathsep.join(str(folder) for folder in folders)}
