"""The sessions of this repository; what they do lives in `ci/`.

`nox` runs all of them, `nox -l` lists them, `nox -s core -- -k chunked` hands options to pytest.
Environments lie in `.nox/` and are shared: delete the folder to start afresh.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

sys.path.insert(0, str(Path(__file__).parent))

from ci import environments, notorch, recipes, wheels
from ci.environments import run
from ci.packages import PLUGINS, package

nox.options.default_venv_backend = "none"
nox.options.error_on_missing_interpreters = False


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: style and format."""
    tools = recipes.tools()
    run(tools.script("ruff"), "check", ".")
    run(tools.script("ruff"), "format", "--check", ".")


@nox.session
def layers(session: nox.Session) -> None:
    """import-linter: who may import whom; and core names no vendor."""
    tools = recipes.tools()
    run(tools.script("lint-imports"), "--no-logo", "--no-cache", env=recipes.source_path())
    run(tools.python, "-m", "ci.vendor_free", "core/src")


@nox.session
def types(session: nox.Session) -> None:
    """mypy: everything, strict on the contracts."""
    run(recipes.torch().script("mypy"), "core/src", *(f"{entry.folder}/src" for entry in PLUGINS), "ci")


@nox.session
def ci(session: nox.Session) -> None:
    """The tests of CI's own modules, versions built in scratch clones included."""
    run(recipes.tools().python, "-m", "pytest", "ci/tests", *session.posargs)


@nox.session(name="notorch")
@nox.parametrize("py", notorch.PYTHONS)
def notorch_tests(session: nox.Session, py: str) -> None:
    """Core's rooms that need no torch, on another Python, where torch is not even installed."""
    try:
        environment = recipes.without_torch(py)
    except environments.InterpreterMissing as missing:
        session.skip(str(missing))
    run(environment.python, "-m", "ci.notorch")
    run(environment.python, "-m", "pytest", *notorch.TESTS, *session.posargs)


@nox.session
def core(session: nox.Session) -> None:
    """Core's tests, with torch and cpu_ref."""
    run(recipes.torch().python, "-m", "pytest", "core/tests", *session.posargs, env=recipes.ONE_THREAD)


@nox.session
@nox.parametrize("name", [entry.name for entry in PLUGINS])
def plugin(session: nox.Session, name: str) -> None:
    """One plugin's tests against the core of the tree."""
    tests = f"{package(name).folder}/tests"
    run(recipes.torch().python, "-m", "pytest", tests, *session.posargs, env=recipes.ONE_THREAD)


@nox.session(name="wheels")
def wheels_alone(session: nox.Session) -> None:
    """Builds every package, installs the wheels alone into a clean environment and runs the main job there."""
    wheels.check(recipes.tools(), Path(session.create_tmp()))
