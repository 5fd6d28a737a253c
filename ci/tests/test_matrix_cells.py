"""The cells that follow from a matrix, their names, and what is refused in the file and in a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.environments import CONSTRAINTS
from ci.matrix.cells import Cell, cells, matching, parse
from ci.matrix.declared import Declared, MatrixError, load
from ci.matrix.sources import TREE, UnknownSource
from ci.packages import CORE, PLUGINS, ROOT, package
from ci.tests import scratch
from ci.versions import git

SMALL = """
[stack]
python = ["3.11", "3.12"]
torch = ["2.13.0", "2.12.0"]
transformers = ["5.23.0", "4.57.6"]
[unpinned]
[needs.compiler]
program = "g++"
version = "11"
[packages.core]
supported = ">=0.2"
variants.notorch = { says = "no torch", limit_s = 9, torch = false, tests = ["tests/a.py"] }
[packages.spyre]
supported = ">=0.1"
variants.eager = { says = "as written", limit_s = 9, kit = ["--quick"] }
variants.compiled = { says = "compiled", limit_s = 9, kit = [], needs = ["compiler"] }
variants.notorch = { says = "no torch", limit_s = 9, torch = false }
[sessions]
lint = { packages = ["core"] }
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Releases of core and of spyre, all on one commit."""
    path = tmp_path_factory.mktemp("cells") / "tree"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    scratch.commit(path, "all")
    for tag in ("core-v0.1.0", "core-v0.2.0", "core-v0.10.0", "spyre-v0.1.0", "ascend-v7.0.0"):
        git(path, "tag", tag)
    return path


@pytest.fixture
def small(tmp_path: Path) -> Declared:
    return written(tmp_path, SMALL)


def written(folder: Path, text: str) -> Declared:
    file = folder / "matrix.toml"
    file.write_text(text)
    return load(file)


def test_releases_meet_each_other_and_the_other_axes_vary_one_at_a_time(small: Declared, tree: Path) -> None:
    assert [cell.name for cell in cells(small, tree)] == [
        "notorch(core=tree, py=3.12)",
        "plugin(spyre, core=0.2.0, py=3.11)",
        "plugin(spyre, core=0.10.0, py=3.11)",
        "plugin(spyre, core=tree, py=3.11)",
        "plugin(spyre 0.1.0, core=0.2.0, py=3.11)",
        "plugin(spyre 0.1.0, core=0.10.0, py=3.11)",
        "plugin(spyre 0.1.0, core=tree, py=3.11)",
        "plugin(spyre, core=tree, py=3.11, compiled)",
        "plugin(spyre, core=tree, py=3.12)",
        "plugin(spyre, core=tree, py=3.11, torch=2.12.0)",
        "plugin(spyre, core=tree, py=3.11, transformers=4.57.6)",
        "plugin(spyre, core=tree, py=3.11, notorch)",
        "plugin(spyre, core=tree, py=3.12, notorch)",
    ]


def test_every_cell_is_what_its_name_means(small: Declared, tree: Path) -> None:
    for cell in cells(small, tree):
        assert parse(cell.name, small, tree) == cell


def test_a_name_may_mean_what_the_matrix_does_not_list(small: Declared, tree: Path) -> None:
    cell = parse("plugin(spyre 0.1.0, core=0.1.0, py=3.12, torch=2.12.0, compiled)", small, tree)
    assert (cell.release.label, cell.core.label, cell.stack.python, cell.stack.torch) == (
        "0.1.0",
        "0.1.0",
        "3.12",
        "2.12.0",
    )
    assert cell.variant.name == "compiled"
    assert cell.says == "spyre, release 0.1.0, against core 0.1.0, on Python 3.12, with torch 2.12.0: compiled"
    at_commit = parse("plugin(spyre, core=HEAD)", small, tree)
    assert at_commit.core.commit == scratch.sha(tree)
    assert at_commit.release == TREE


@pytest.mark.parametrize(
    "name, told",
    [
        ("spyre", r"'spyre' is no cell: they look like plugin\("),
        ("plugin(spire, core=tree)", "known: core, cpu_ref, ascend, spyre, cann_sim"),
        ("plugin(ascend, core=tree)", "ascend is not in the matrix: core, spyre are"),
        ("plugin(spyre, core=tree, eagre)", "spyre has no variant 'eagre'; it has eager, compiled, notorch"),
        ("plugin(spyre, cuda=13)", "cuda is no axis; there are core, py, torch, transformers"),
    ],
)
def test_a_name_that_means_nothing_is_answered(small: Declared, tree: Path, name: str, told: str) -> None:
    with pytest.raises(MatrixError, match=told):
        parse(name, small, tree)


def test_a_release_that_is_not_here_is_no_cell_that_passes(small: Declared, tree: Path) -> None:
    with pytest.raises(UnknownSource, match=r"'0\.3\.0' is neither `tree`, a release of vllm-core"):
        parse("plugin(spyre, core=0.3.0)", small, tree)


def test_a_glob_takes_brackets_as_they_are(small: Declared, tree: Path) -> None:
    found: list[Cell] = matching(cells(small, tree), "plugin(spyre 0.1.0, *)")
    assert [cell.core.label for cell in found] == ["0.2.0", "0.10.0", "tree"]


@pytest.mark.parametrize(
    "old, new, told",
    [
        ("[packages.spyre]", "[packages.spire]", "no such package"),
        ('needs = ["compiler"]', 'needs = ["npu"]', r"\[packages\.spyre\.compiled\] needs npu; \[needs\] has compiler"),
        ('kit = ["--quick"]', "", "tests nothing"),
        ('says = "compiled", ', "", r"\[packages\.spyre\.compiled\] lacks 'says'"),
    ],
)
def test_a_wrong_file_is_refused_with_the_place(tmp_path: Path, old: str, new: str, told: str) -> None:
    text = SMALL.replace(old, new).replace("limit_s = 9,  }", "limit_s = 9 }")
    assert text != SMALL
    with pytest.raises(MatrixError, match=told):
        written(tmp_path, text)


# -- this repository's own file


def test_every_plugin_of_the_tree_is_in_the_matrix() -> None:
    declared = load()
    assert {row.package for row in declared.rows} == {CORE, *PLUGINS}
    for row in declared.rows:
        assert row.variant("notorch").torch is False


def test_the_main_stack_is_what_the_constraints_pin() -> None:
    main, lines = load().main, CONSTRAINTS.read_text().splitlines()
    assert f"torch=={main.torch}" in lines
    assert any(line.startswith(f"transformers=={main.transformers}") for line in lines)


def test_the_files_that_variants_name_exist() -> None:
    for row in load().rows:
        for variant in row.variants:
            for each in variant.tests:
                assert (row.package.path / each).exists(), each


def test_every_law_that_the_file_names_is_a_law() -> None:
    laws = {
        f"{file.stem}.{line.removeprefix('def ').partition('(')[0]}"
        for file in (CORE.path / "src/vllm/testing/laws").glob("*.py")
        for line in file.read_text().splitlines()
        if line.startswith("def ")
    }
    named = [
        variant.kit[number + 1]
        for row in load().rows
        for variant in row.variants
        if variant.kit
        for number, word in enumerate(variant.kit)
        if word == "--law"
    ]
    assert named
    assert set(named) <= laws


def test_every_default_session_of_nox_says_what_it_looks_at() -> None:
    text = (ROOT / "noxfile.py").read_text()
    names = {session.name.partition("(")[0] for session in load().sessions}
    blocks = text.split("@nox.session")[1:]
    defaults = {
        block.partition('name="')[2].partition('"')[0] or block.partition("def ")[2].partition("(")[0]
        for block in blocks
        if "default=False" not in block.partition("def ")[0]
    }
    assert {name for name in defaults if name} == names


def test_plugin_sessions_are_named_as_nox_names_them() -> None:
    named = {session.name for session in load().sessions if session.name.startswith("plugin(")}
    assert named == {f"plugin(name='{entry.name}')" for entry in PLUGINS}
    assert package("ascend") in next(s for s in load().sessions if s.name == "plugin(name='ascend')").packages
