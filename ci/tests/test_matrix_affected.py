"""What a change can affect: each kind of file, by hand; and a change of core that breaks spyre alone, in a scratch clone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import grimp
import pytest

from ci.environments import clean_environ
from ci.matrix.affected import Affected, affected, as_json, tell
from ci.matrix.cells import cells
from ci.matrix.changes import changed_files, import_graph, imports_of, module_of, uses_of_broken
from ci.matrix.declared import load
from ci.matrix.results import REPORT
from ci.matrix.sources import UnknownSource
from ci.packages import CANN_SIM, PACKAGES, PLUGINS, owner, package
from ci.plugin_api.__main__ import main as api
from ci.tests import scratch
from ci.tests.planted import break_spyre_alone
from ci.versions import git

DECLARED = load()
EVERY = cells(DECLARED)
SESSIONS = [session.name for session in DECLARED.sessions]
HOUSE = {"lint", "layers", "types", "api", "ci", "wheels"}
"""Sessions that look at every package."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return import_graph()


def of(graph: grimp.ImportGraph, *files: str) -> Affected:
    return affected(files, DECLARED, EVERY, graph, {})


def test_core_affects_everything_that_runs(graph: grimp.ImportGraph) -> None:
    found = of(graph, "core/src/vllm/engine/core.py")
    assert set(found.sessions) == set(SESSIONS) - {"docs"}
    assert list(found.cells) == EVERY


@pytest.mark.parametrize("name", [entry.name for entry in PLUGINS])
def test_a_plugin_affects_its_own_cells_and_no_others(graph: grimp.ImportGraph, name: str) -> None:
    found = of(graph, f"plugins/{name}/src/vllm_{name}/platform.py")
    own = [cell for cell in EVERY if cell.package == package(name) or package(name) in cell.variant.beside]
    assert list(found.cells) == own
    assert HOUSE | {f"plugin(name='{name}')"} <= set(found.sessions)


def test_spyre_concerns_nobody_else(graph: grimp.ImportGraph) -> None:
    assert set(of(graph, "plugins/spyre/src/vllm_spyre/runner.py").sessions) == HOUSE | {"plugin(name='spyre')"}


def test_the_simulator_concerns_ascends_simulated_cells(graph: grimp.ImportGraph) -> None:
    found = of(graph, "plugins/ascend/cann_sim/src/cann_sim/build.py")
    assert found.cells
    assert all(CANN_SIM in cell.variant.beside for cell in found.cells)
    assert {"cann_sim", "plugin(name='ascend')"} <= set(found.sessions)
    assert "core" not in found.sessions


def test_words_run_no_cell(graph: grimp.ImportGraph) -> None:
    assert set(of(graph, "docs/troubleshooting.md").sessions) == {"docs", "ci"}
    assert set(of(graph, "plugins/spyre/changelog.d/7.added.md", "core/README.md").sessions) == {"ci", "wheels"}
    assert of(graph, "docs/troubleshooting.md", "plugins/spyre/README.md").cells == ()


def test_a_module_of_ci_concerns_the_sessions_that_stand_on_it(graph: grimp.ImportGraph) -> None:
    mine = {"lint", "types", "ci"}
    assert set(of(graph, "ci/tutorial.py").sessions) == mine | {"tutorial"}
    assert set(of(graph, "ci/wheels.py").sessions) == mine | {"wheels", "tutorial"}
    assert set(of(graph, "ci/plugin_api/signatures.py").sessions) == mine | {"api"}
    assert of(graph, "ci/tutorial.py").cells == ()


def test_what_cells_run_with_runs_them(graph: grimp.ImportGraph) -> None:
    for file in ("ci/matrix.toml", "ci/matrix/verdicts.py"):
        assert list(of(graph, file).cells) == EVERY, file
    assert "core" not in of(graph, "ci/matrix/verdicts.py").sessions


@pytest.mark.parametrize(
    "file", ["ci/constraints.txt", "ci/recipes.py", "ci/interpreters.py", "noxfile.py", "unheard-of.cfg"]
)
def test_foundations_and_unknown_files_affect_everything(graph: grimp.ImportGraph, file: str) -> None:
    found = of(graph, file)
    assert list(found.sessions) == SESSIONS
    assert list(found.cells) == EVERY


def test_files_belong_to_the_innermost_package_and_name_modules() -> None:
    assert owner("plugins/ascend/cann_sim/src/cann_sim/cli.py") == CANN_SIM
    assert owner("plugins/ascend/src/vllm_ascend/ops.py") == package("ascend")
    assert owner("docs/index.md") is None
    assert owner("corelib/x") is None
    assert module_of("core/src/vllm/engine/__init__.py") == "vllm.engine"
    assert module_of("ci/tests/scratch.py") == "ci.tests.scratch"
    assert module_of("core/tests/test_import.py") is None
    assert module_of("core/README.md") is None


def test_the_graph_knows_every_package_without_importing_one(graph: grimp.ImportGraph) -> None:
    assert {entry.import_name for entry in PACKAGES} | {"ci"} <= graph.modules
    told = imports_of(package("spyre"), ["vllm.worker.torch_model_runner"], graph)
    assert told == ["vllm_spyre.runner imports vllm.worker.torch_model_runner"]
    assert imports_of(package("cpu_ref"), ["vllm.engine.core"], graph) == []


# -- a change of core that breaks spyre alone


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    path = scratch.make_repository(tmp_path / "tree")
    assert api(["--tree", str(path), "--write"]) == 0
    scratch.commit(path, "lock")
    return path


def said(tree: Path, base: str) -> Sequence[str]:
    files = changed_files(base, tree)
    found = affected(files, DECLARED, EVERY, import_graph(tree), uses_of_broken(base, tree))
    return list(tell(found, base, len(EVERY)))


def test_a_change_that_breaks_spyre_alone_is_said_to_concern_spyre(
    tree: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    break_spyre_alone(tree)
    lines = said(tree, "HEAD")
    place = lines.index("Plugins whose own code touches what changed in core:")
    assert f"Cells of the matrix ({len(EVERY)}, all of them):" in lines
    use = "  spyre: plugins/spyre/src/vllm_spyre/runner.py:"
    assert lines[place + 1].startswith(use)
    assert "SpyreModelRunner overrides warm_up: vllm.worker." in lines[place + 1]
    assert {line.split(":")[0] for line in lines[place + 1 : -2]} == {"  spyre", "  cpu_ref, ascend"}
    assert lines[-3] == "  cpu_ref, ascend: through core only"

    capsys.readouterr()
    assert api(["--tree", str(tree)]) == 1
    text = capsys.readouterr().out
    assert "BREAKING  vllm.worker.model_runner_base.ModelRunnerBase.warm_up: was renamed to `prepare_steps`" in text
    concerned = {line.split()[1] for line in text.splitlines() if line.startswith("    affects")}
    assert concerned == {"spyre:"}


def test_a_change_of_words_alone_runs_no_cell_and_is_green(tmp_path: Path) -> None:
    tree = scratch.make_repository(tmp_path / "tree", more=("ci", "docs/index.md"))
    (tree / "docs" / "index.md").write_text("other words\n")
    scratch.commit(tree, "docs")
    command = [sys.executable, "-m", "ci.matrix", "run", "--affected", "HEAD~1", "--report", str(tmp_path)]
    done = subprocess.run(command, cwd=tree, env=clean_environ(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "no cell is affected by what changed since HEAD~1\n"
    written = json.loads((tmp_path / REPORT).read_text())
    assert (written["wanted"], written["cells"], written["asked"]["affected"]) == (0, [], "HEAD~1")


def test_committed_uncommitted_and_new_files_count_since_the_fork(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    (tmp_path / "kept.txt").touch()
    (tmp_path / "uncommitted.txt").touch()
    scratch.commit(tmp_path, "base")
    git(tmp_path, "tag", "base")
    (tmp_path / "committed.txt").touch()
    scratch.commit(tmp_path, "one")
    (tmp_path / "uncommitted.txt").write_text("changed\n")
    (tmp_path / "new.txt").touch()
    assert changed_files("base", tmp_path) == ["committed.txt", "new.txt", "uncommitted.txt"]
    with pytest.raises(UnknownSource, match="git fetch --unshallow --tags"):
        changed_files("core-v9.9.9", tmp_path)


def test_programs_read_names_that_nox_knows(graph: grimp.ImportGraph) -> None:
    content = json.loads(as_json(of(graph, "plugins/spyre/src/vllm_spyre/runner.py")))
    assert content["sessions"] == [name for name in SESSIONS if name in HOUSE | {"plugin(name='spyre')"}]
    assert content["cells"] == [cell.name for cell in EVERY if cell.package == package("spyre")]
    assert content["closest"] == {}


def test_nothing_changed_affects_nothing(graph: grimp.ImportGraph) -> None:
    found = of(graph)
    assert not found.sessions
    assert not found.cells
