"""Cells that pass, fail, hang, crash, cannot be built, are refused or cannot run: with real wheels of tiny packages."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from ci.environments import Environment
from ci.matrix import bisect, places
from ci.matrix.cells import parse
from ci.matrix.results import Result, Status
from ci.matrix.running import Site, run_cell, run_cell_once
from ci.matrix.sources import Source, Store
from ci.tests import scratch, tiny
from ci.versions import git

TOOLS = Environment(path=Path(sys.executable).parent.parent)

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A history in which tags name how spyre behaves, or what core is; wheels of its commits are built once for all tests."""
    path = tiny.make_tiny(tmp_path_factory.mktemp("running") / "tree")
    git(path, "tag", "good")
    (path / tiny.SPYRE.folder / "touched.txt").touch()
    tagged(path, "touched")
    for behaviour in ("bad", "none", "crash", "hang"):
        tiny.write_plugin(path, behaviour)
        tagged(path, behaviour)
    (path / tiny.SPYRE.folder / "pyproject.toml").write_text("[project\n")
    tagged(path, "unbuildable")
    for name, refuses in (("core-later", True), ("core-lenient", False)):
        tiny.write_core(path, "0.3.0", refuses=refuses)
        tagged(path, name)
    return path


def tagged(tree: Path, name: str) -> None:
    scratch.commit(tree, name)
    git(tree, "tag", name)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def site(tree: Path, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The tiny packages need next to nothing below them."""
    monkeypatch.setattr(places, "LIGHT", ("packaging",))
    monkeypatch.setattr(places, "TESTING", ())
    store = Store(repository=tree, cache=cache)
    return Site(declared=tiny.declared(tmp_path), store=store, tools=TOOLS, logs=tmp_path / "report" / "logs")


@pytest.fixture
def run(site: Site, tree: Path) -> Run:
    def of(spyre: str, core: str = "good", variant: str = "kit") -> Result:
        return run_cell(
            parse(f"plugin(spyre {spyre}, core={core}, py={tiny.HERE}, {variant})", site.declared, tree), site
        )

    return of


def test_a_cell_that_passes_says_what_it_counted_and_installed(run: Run, site: Site) -> None:
    result = run("good")
    assert (result.status, result.why, result.broken) == (Status.PASSED, "", ())
    assert result.counts == {"found": 1, "passed": 1, "excused": 1}
    assert result.versions == {"vllm-core": "0.1.0", "vllm-plugin-spyre": "0.1.0"}
    assert "$ " in (site.logs.parent / result.log).read_text()


def test_a_broken_law_fails_the_cell_by_name(run: Run) -> None:
    result = run("bad")
    assert result.status is Status.FAILED
    assert [(each.law, each.why) for each in result.broken] == [("area.law_1 float32", "it failed")]
    assert result.counts == {"found": 1, "passed": 1, "failed": 1}


def test_a_kit_that_could_check_nothing_is_no_pass(run: Run) -> None:
    result = run("none")
    assert (result.status, result.why) == (Status.NOT_RUNNABLE, "no law could be checked: it not testable")


def test_a_kit_that_crashes_fails_with_its_last_words(run: Run) -> None:
    result = run("crash")
    assert result.status is Status.FAILED
    assert "no report today" in result.why


def test_a_kit_that_hangs_is_ended_at_its_limit(run: Run) -> None:
    result = run("hang", variant="short")
    assert result.status is Status.FAILED
    assert result.first_broken == "vllm plugin test: over its time"
    assert "its limit" in result.why


def test_a_pair_that_is_not_claimed_is_excused_where_discovery_refuses_it(run: Run) -> None:
    result = run("good", "core-later")
    assert (result.status, result.why) == (Status.EXCUSED, "wants vllm-core <0.3,>=0.1, and says so beside 0.3.0")


def test_a_pair_that_should_be_refused_and_is_not_fails(run: Run) -> None:
    result = run("good", "core-lenient")
    assert (result.status, result.first_broken) == (Status.FAILED, "refusal by discovery")


def test_what_cannot_be_built_is_neither_pass_nor_fail(run: Run) -> None:
    result = run("unbuildable")
    assert (result.status, result.broken) == (Status.UNBUILT, ())


@pytest.mark.parametrize(
    "name, why",
    [
        ("plugin(spyre, core=tree, card)", "needs a card"),
        ("plugin(spyre, core=tree, device)", "no chip is here: there is no /dev/no-such-device"),
        ("plugin(spyre, core=tree, compiled)", "needs no-such-compiler 11 or newer, which is not installed"),
        ("plugin(spyre, core=tree, py=3.99)", "no Python 3.99 here: neither `python3.99` nor one of pyenv starts"),
    ],
)
def test_what_this_machine_lacks_is_said_and_nothing_is_built(site: Site, tree: Path, name: str, why: str) -> None:
    result = run_cell(parse(name, site.declared, tree), site)
    assert (result.status, result.why) == (Status.NOT_RUNNABLE, why)
    assert not site.wheels
    assert result.log == ""


def test_an_environment_that_cannot_be_made_is_that_cells_row(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "LIGHT", ("no requirement",))
    result = run("good")
    assert (result.status, result.counts) == (Status.UNBUILT, {})
    assert "returned non-zero exit status" in result.why


def test_a_release_that_is_not_in_this_clone_is_said(site: Site, tree: Path) -> None:
    cell = parse("plugin(spyre, core=tree)", site.declared, tree)
    gone = Source(label="0.0.9", commit=None, missing="the tag core-v0.0.9 is not in this clone")
    result = run_cell(replace(cell, core=gone), site)
    assert (result.status, result.core, result.why) == (Status.NOT_RUNNABLE, "0.0.9", gone.missing)


def test_a_bisection_finds_the_commit_and_leaves_the_tree_alone(site: Site, tree: Path) -> None:
    mine = tree / tiny.SPYRE.folder / "src" / "vllm_spyre" / "__init__.py"
    mine.write_text("not committed\n")
    cell = parse(f"plugin(spyre, core={git(tree, 'rev-parse', 'good')}, py={tiny.HERE})", site.declared, tree)
    good, bad = git(tree, "rev-parse", "good"), git(tree, "rev-parse", "bad")
    commits = bisect.candidates(tree, good, bad, bisect.moving(cell))
    found = bisect.search(commits, lambda each: bisect.verdict(run_cell_once(bisect.at_commit(cell, each), site)))
    assert found.suspects == (bad,)
    assert list(found.asked.values()) == [bisect.Verdict.GOOD]
    assert mine.read_text() == "not committed\n"


def test_the_environment_of_a_commit_goes_when_it_is_judged_and_its_log_stays(site: Site, tree: Path) -> None:
    named = parse(f"plugin(spyre, core={git(tree, 'rev-parse', 'good')}, py={tiny.HERE})", site.declared, tree)
    cell = bisect.at_commit(named, git(tree, "rev-parse", "bad"))
    folder = site.store.cache / "cells" / places.slug(cell.name)
    kept = run_cell(cell, site)
    assert (folder / "environment").is_dir()
    judged = run_cell_once(cell, site)
    assert (
        (judged.status, judged.first_broken)
        == (kept.status, kept.first_broken)
        == (Status.FAILED, "area.law_1 float32")
    )
    assert not folder.exists()
    assert (site.logs.parent / judged.log).is_file()
