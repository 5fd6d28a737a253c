"""What a package imports, against what its metadata declares."""

from __future__ import annotations

import ast
import itertools
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement

from ci.packages import PACKAGES, Package

__all__ = ["declared", "imported", "undeclared"]

_DISTRIBUTIONS = {
    "yaml": "pyyaml",
    "prometheus_client": "prometheus-client",
    "typing_extensions": "typing-extensions",
    "torch_npu": "torch-npu",
    "zmq": "pyzmq",
    "opentelemetry": "opentelemetry-sdk",
}

_ON_NO_INDEX = {"torch_sendnn": "comes with the card's own software; an index must not be asked for that name"}
"""Modules that no metadata can name, each with the reason."""


def imported(source: str) -> Iterator[str]:
    """Top-level names of the modules that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield node.module.partition(".")[0]


def declared(pyproject: str) -> set[str]:
    """Names of the distributions in `dependencies` and in the extras of a `pyproject.toml`."""
    project = tomllib.loads(pyproject)["project"]
    extras = project.get("optional-dependencies", {}).values()
    requirements = [*project.get("dependencies", []), *itertools.chain(*extras)]
    return {Requirement(text).name.lower() for text in requirements}


def undeclared(entry: Package) -> dict[str, Path]:
    """Distributions that a package's sources import but its metadata does not name, each with a file that does."""
    names = declared((entry.path / "pyproject.toml").read_text())
    own = {other.import_name: other.distribution for other in PACKAGES}
    missing: dict[str, Path] = {}
    for file in sorted((entry.path / "src").rglob("*.py")):
        for module in imported(file.read_text(encoding="utf-8")):
            distribution = own.get(module, _DISTRIBUTIONS.get(module, module))
            known = module in sys.stdlib_module_names or module in _ON_NO_INDEX
            if not known and distribution not in names | {entry.distribution}:
                missing.setdefault(distribution, file)
    return missing
