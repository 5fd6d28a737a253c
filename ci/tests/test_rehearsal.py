"""The scene of the rehearsal stands on these sources, and its cells are those of the expected table. (`nox -s rehearsal` runs them.)"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ci.environments import clean_environ
from ci.matrix.cells import cells
from ci.matrix.declared import load
from ci.matrix.places import above
from ci.matrix.results import Broken, Outcome, Result, Status, result
from ci.matrix.sources import Store, releases
from ci.packages import CORE
from ci.rehearsal.expected import TABLE, differences
from ci.rehearsal.scene import Scene, make_scene
from ci.tests import scratch
from ci.tests.releases import HERE
from ci.versions import git


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    """The scene, with toy written by an installed core; what is not committed yet is in it."""
    folder = tmp_path_factory.mktemp("rehearsal")
    origin = scratch.make_repository(folder / "origin", more=("ci", "docs", "LICENSE"))
    wheel = scratch.wheel(origin / CORE.folder, folder)
    environment = above(HERE, folder / "environment")
    environment.install("--no-index", "--no-deps", wheel)

    def scaffold(target: Path) -> None:
        command = [environment.script("vllm"), "plugin", "new", "toy", "--dest", target]
        subprocess.run(list(map(str, command)), cwd=folder, env=clean_environ(), check=True, capture_output=True)

    return make_scene(folder / "scene", scaffold, origin)


def test_the_history_has_the_releases_in_their_order(scene: Scene) -> None:
    tags = git(scene.tree, "tag", "--list", "--sort=creatordate", "--merged", "HEAD").split()
    assert sorted(tags) == sorted(
        ["core-v0.1.0", "cpu-ref-v0.1.0", "toy-v0.1.0", "core-v0.2.0", "cpu-ref-v0.2.0", "core-v0.3.0", "toy-v0.1.1"]
    )
    between = git(scene.tree, "rev-list", "core-v0.2.0..core-v0.3.0").split()
    assert between.index(scene.breaking) not in (0, len(between) - 1)


def test_the_old_method_is_there_then_warns_then_is_gone(scene: Scene) -> None:
    file = "core/src/vllm/platforms/interface.py"
    texts = [git(scene.tree, "show", f"core-v0.{minor}.0:{file}") for minor in (1, 2, 3)]
    assert ["def device_label(" in text for text in texts] == [True, True, False]
    assert ["def describe_device(" in text for text in texts] == [False, True, True]
    assert ["@deprecated(" in text for text in texts] == [False, True, False]


def test_the_scenes_cells_are_those_of_the_table(scene: Scene) -> None:
    code = (
        "from ci.matrix.cells import cells; from ci.matrix.declared import load\n"
        "for cell in cells(load()): print(cell.package.name, cell.release, cell.core)"
    )
    command = [sys.executable, "-c", code]
    listed = subprocess.run(command, cwd=scene.tree, env=clean_environ(), stdout=subprocess.PIPE, text=True, check=True)
    assert {tuple(line.split()) for line in listed.stdout.splitlines()} == set(TABLE)


def test_the_interface_check_names_the_plugin_that_breaks(scene: Scene, tmp_path: Path) -> None:
    tree = Store(repository=scene.tree, cache=tmp_path).tree(releases(CORE, scene.tree)[-1])
    command = [sys.executable, "-m", "ci.plugin_api", "--against", "core-v0.2.0"]
    said = subprocess.run(command, cwd=tree, env=clean_environ(), capture_output=True, text=True, check=False).stdout
    breaking = said.partition("BREAKING")[2]
    assert "device_label" in breaking.splitlines()[0]
    assert [line.split()[1] for line in breaking.splitlines()[1:] if line.startswith("    affects")] == ["toy:"]


ROW = result(cells(load())[0], Outcome(status=Status.PASSED), seconds=1, versions={}, log="")


def row(key: tuple[str, str, str], status: Status) -> Result:
    why = {Status.EXCUSED: "wants vllm-core >=7", Status.FAILED: "a law broke"}.get(status, "")
    broken = (Broken(law="contract.x", why="no attribute device_label"),) if status is Status.FAILED else ()
    name, release, core = key
    return replace(ROW, package=name, release=release, core=core, status=status, why=why, broken=broken)


def test_the_expected_table_has_no_differences() -> None:
    assert list(differences(row(key, status) for key, status in TABLE.items())) == []


@pytest.mark.parametrize(
    "key, status", [(("toy", "0.1.0", "0.3.0"), Status.PASSED), (("cpu_ref", "0.1.0", "0.2.0"), Status.PASSED)]
)
def test_a_cell_that_passes_though_it_must_not_is_a_difference(key: tuple[str, str, str], status: Status) -> None:
    found = {other: row(other, wanted) for other, wanted in TABLE.items()} | {key: row(key, status)}
    (told,) = differences(found.values())
    assert re.match(r"\S+ \S+ on core \S+: pass instead of (fail|excused)", told)


def test_the_right_status_for_another_reason_is_a_difference() -> None:
    key = ("toy", "0.1.0", "0.3.0")
    other = replace(row(key, Status.FAILED), broken=(Broken(law="contract.x", why="out of memory"),))
    found = {each: row(each, wanted) for each, wanted in TABLE.items()} | {key: other}
    (told,) = differences(found.values())
    assert "does not say 'device_label'" in told


def test_a_missing_and_a_surplus_cell_are_differences() -> None:
    found = {key: row(key, status) for key, status in TABLE.items()}
    del found["toy", "tree", "tree"]
    surplus = row(("toy", "7.0.0", "tree"), Status.PASSED)
    assert list(differences([*found.values(), surplus])) == [
        "toy 7.0.0 on core tree: not expected",
        "toy tree on core tree: not there",
    ]
