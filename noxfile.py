"""The sessions of this repository; what they do lives in `ci/`.

`nox` runs those marked * in `nox -l`, `nox -s core -- -k chunked` hands options to pytest. Each cell of the matrix is a
session too: `nox -s "plugin(ascend, core=tree, py=3.11)"`; `nox -t spyre` runs all of one package, `nox -s matrix` all.
Environments lie in `.nox/` and are shared: delete the folder to start afresh.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import nox

sys.path.insert(0, str(Path(__file__).parent))

from ci import environments, recipes, tutorial, wheels
from ci.matrix import cells, declared
from ci.packages import CANN_SIM, CORE, PACKAGES, PLUGINS, package
from ci.second_try import TWO_AT_A_TIME

nox.options.default_venv_backend = "none"
nox.options.error_on_missing_interpreters = False

MATRIX = declared.load()
"""`ci/matrix.toml`."""

MUTANTS = "core/tests/mutants"
"""Tests of core with a session of their own."""


def run(session: nox.Session, *command: str | Path, env: Mapping[str, str] = MappingProxyType({})) -> None:
    """Run a command in one of CI's environments, with none of the caller's Python settings."""
    session.run(
        *map(str, command), env=environments.clean_environ() | dict(env), include_outer_env=False, external=True
    )


def run_tests(session: nox.Session, *pytest: str | Path, env: Mapping[str, str] = recipes.ONE_THREAD) -> None:
    """Two at a time, and a few that fail once more, alone: see `ci/second_try.py`. With options for pytest, plainly."""
    if session.posargs:
        run(session, *pytest, *session.posargs, env=env)
    else:
        folder = Path(".nox/tries") / session.name
        run(session, sys.executable, "-m", "ci.second_try", folder, *pytest, env=env)


@nox.session
def lint(session: nox.Session) -> None:
    """ruff: style and format."""
    tools = recipes.tools()
    run(session, tools.script("ruff"), "check", ".")
    run(session, tools.script("ruff"), "format", "--check", ".")


@nox.session
def layers(session: nox.Session) -> None:
    """import-linter: who may import whom; and core names no vendor."""
    tools = recipes.tools()
    run(session, tools.script("lint-imports"), "--no-logo", "--no-cache", env=recipes.source_path())
    run(session, tools.python, "-m", "ci.vendor_free", "core/src")


@nox.session
def types(session: nox.Session) -> None:
    """mypy: everything, strict on the contracts."""
    sources = [f"{entry.folder}/src" for entry in PACKAGES]
    run(session, recipes.torch().script("mypy"), "-n", "2", *sources, "ci")


@nox.session
def api(session: nox.Session) -> None:
    """The plugin interface against core/plugin_api.lock; `-- --write` renews it, `-- --against core-v0.1.0` looks back."""
    run(session, recipes.tools().python, "-m", "ci.plugin_api", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation, warnings being errors; `-- serve` shows it while you write."""
    run(session, recipes.docs().script("zensical"), *(session.posargs or ["build", "--strict", "--clean"]))


@nox.session
def ci(session: nox.Session) -> None:
    """The tests of CI's own modules, versions built in scratch clones included."""
    run(session, recipes.tools().python, "-m", "pytest", "ci/tests", *(session.posargs or TWO_AT_A_TIME))


@nox.session(name="notorch")
@nox.parametrize("py", MATRIX.pythons[1:])
def notorch_tests(session: nox.Session, py: str) -> None:
    """Core's rooms that need no torch, on another Python, where torch is not even installed."""
    try:
        environment = recipes.without_torch(py)
    except environments.InterpreterMissing as missing:
        session.skip(str(missing))
    run(session, environment.python, "-m", "ci.notorch")
    tests = [f"{CORE.folder}/{each}" for each in MATRIX.row(CORE).variants[0].tests]
    run(session, environment.python, "-m", "pytest", *tests, *(session.posargs or TWO_AT_A_TIME))


@nox.session
def core(session: nox.Session) -> None:
    """Core's tests, with torch and cpu_ref; two at a time, but for those marked `alone`. With options for pytest one at a time.

    The session `mutants` runs the rest.
    """
    pytest = (recipes.torch().python, "-m", "pytest", "core/tests")
    if session.posargs:
        run(session, *pytest, *session.posargs, env=recipes.ONE_THREAD)
        return
    run_tests(session, *pytest, "-m", "not alone", f"--ignore={MUTANTS}")
    run(session, *pytest, "-m", "alone", env=recipes.ONE_THREAD)


@nox.session(default=False)
def clients(session: nox.Session) -> None:
    """langchain-openai and litellm, which are much to install, against `vllm serve`."""
    where = {"VLLM_TEST_CLIENTS_PYTHON": str(recipes.clients().python)}
    pytest = (recipes.torch().python, "-m", "pytest", "core/tests/serving/test_other_clients.py")
    run(session, *pytest, *session.posargs, env=dict(recipes.ONE_THREAD) | where)


@nox.session
def mutants(session: nox.Session) -> None:
    """Core's tests that the conformance kit catches each broken variant of cpu_ref, with a table: which law caught which."""
    pytest = (recipes.torch().python, "-m", "pytest", MUTANTS)
    run(session, *pytest, *(session.posargs or ("-n", "2")), env=recipes.ONE_THREAD)


@nox.session
@nox.parametrize("name", [entry.name for entry in PLUGINS])
def plugin(session: nox.Session, name: str) -> None:
    """One plugin's tests against the core of the tree; ascend's on the simulated CANN."""
    pytest = ("-m", "pytest", f"{package(name).folder}/tests")
    if name == "ascend":
        npu = recipes.npu()
        run(session, npu.script("cann-sim"), "build")
        run_tests(session, npu.script("cann-sim"), "run", "--devices", "2", "--", npu.python, *pytest)
    else:
        run_tests(session, recipes.torch().python, *pytest)


@nox.session
def cann_sim(session: nox.Session) -> None:
    """The tests of the simulated CANN, which is compiled first, and of what torch_npu without CANN does to the others."""
    npu = recipes.npu()
    run(session, npu.script("cann-sim"), "build")
    tests = (f"{CANN_SIM.folder}/tests", "core/tests/platforms/test_torch_import.py")
    # torch does not load torch_npu by itself; each test says where it shall.
    quiet = dict(recipes.ONE_THREAD) | {"TORCH_DEVICE_BACKEND_AUTOLOAD": "0"}
    run_tests(session, npu.python, "-m", "pytest", *tests, env=quiet)


@nox.session(default=False)
def cann_sim_pair(session: nox.Session) -> None:
    """The simulated CANN on another torch and torch_npu, which may bring gigabytes: `nox -s cann_sim_pair -- 2.12.0`."""
    (release,) = session.posargs or ["2.12.0"]
    other = recipes.other_pair(release)
    run(session, other.script("cann-sim"), "build")
    run(session, other.python, "-m", "pytest", f"{CANN_SIM.folder}/tests", env=recipes.ONE_THREAD)


@nox.session(name="tutorial")
def tutorial_as_written(session: nox.Session) -> None:
    """The commands of docs/your-chip-in-an-hour.md, in order, from wheels, in an empty folder."""
    tutorial.check(recipes.tools(), Path(".nox/tutorial").resolve())


@nox.session(name="wheels")
def wheels_alone(session: nox.Session) -> None:
    """Builds every package, installs the wheels alone into a clean environment and runs the main job there."""
    wheels.check(recipes.tools(), Path(".nox/wheels").resolve())


@nox.session(name="release", default=False)
def release_of_one_package(session: nox.Session) -> None:
    """One package's release, a dry run: `-- PACKAGE [VERSION|major|minor|patch]`; `-- --help` tells the rest."""
    run(session, recipes.tools().python, "-m", "ci.release", *session.posargs)


@nox.session(default=False)
def rehearsal(session: nox.Session) -> None:
    """A history of releases in a scratch clone: its matrix, a bisect, a release, and what must be refused; some ten minutes."""
    run(session, recipes.tools().python, "-m", "ci.rehearsal")


@nox.session(default=False)
def matrix(session: nox.Session) -> None:
    """Cells of the matrix, as a table, JSON and a page: `-- --report DIR [--cells GLOB] [--affected BASE]`."""
    run(session, recipes.tools().python, "-m", "ci.matrix", "run", *session.posargs)


@nox.session(default=False)
def affected(session: nox.Session) -> None:
    """The sessions and cells that the changes since a commit can affect, and the plugins next to them: `-- BASE`."""
    run(session, recipes.tools().python, "-m", "ci.matrix", "affected", *session.posargs)


@nox.session(default=False)
def bisect(session: nox.Session) -> None:
    """The first commit that breaks a cell, found in worktrees: `-- CELL GOOD BAD [--law LAW]`."""
    run(session, recipes.tools().python, "-m", "ci.matrix", "bisect", *session.posargs)


def session_of(cell: cells.Cell) -> Callable[[nox.Session], None]:
    """A session that runs one cell; one that cannot run here fails and says why."""

    def run_cell(session: nox.Session) -> None:
        run(session, recipes.tools().python, "-m", "ci.matrix", "run", "--cells", cell.name, *session.posargs)

    run_cell.__doc__ = cell.says
    return run_cell


for each in cells.cells(MATRIX):
    nox.session(name=each.name, default=False, tags=[each.package.name])(session_of(each))
