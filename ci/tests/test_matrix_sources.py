"""States of the code by name, their worktrees, and the wheels built there: in a scratch repository with one real package."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest

from ci.environments import Environment
from ci.matrix.sources import TREE, BuildFailed, Source, Store, UnknownSource, at, releases
from ci.packages import CORE, package
from ci.release.ledger import LEDGER, Release, write_ledger
from ci.tests import scratch
from ci.versions import git

TOOLS = Environment(path=Path(sys.executable).parent.parent)
SPYRE = package("spyre")


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """core 0.1.0, then a commit that changes spyre alone, then core 0.2.0."""
    path = scratch.make_repository(tmp_path_factory.mktemp("sources") / "origin", [SPYRE])
    git(path, "tag", "core-v0.1.0")
    (path / SPYRE.folder / "NOTE").write_text("later\n")
    scratch.commit(path, "spyre")
    git(path, "tag", "core-v0.2.0")
    return path


@pytest.fixture
def store(origin: Path, tmp_path: Path) -> Store:
    return Store(repository=scratch.clone(origin, tmp_path / "tree"), cache=tmp_path / "cache")


def test_releases_are_a_packages_own_tags_oldest_first(store: Store) -> None:
    assert [source.label for source in releases(CORE, store.repository)] == ["0.1.0", "0.2.0"]
    assert releases(SPYRE, store.repository) == []


def test_a_state_is_named_by_release_by_commit_or_as_the_tree(store: Store) -> None:
    commit = git(store.repository, "rev-parse", "HEAD~1")
    assert at(CORE, "tree", store.repository) is TREE
    assert at(CORE, "0.1.0", store.repository) == Source(label="0.1.0", commit=commit)
    assert at(SPYRE, "HEAD~1", store.repository) == Source(label=commit[:10], commit=commit)
    with pytest.raises(UnknownSource, match=r"'0\.3\.0' is neither .* \(it has: 0\.1\.0, 0\.2\.0\), nor a commit"):
        at(CORE, "0.3.0", store.repository)


def test_a_shallow_clone_says_how_to_get_the_rest(origin: Path, tmp_path: Path) -> None:
    shallow = scratch.clone(origin, tmp_path / "shallow", "--depth=1", "--no-tags")
    with pytest.raises(UnknownSource, match="git fetch --unshallow --tags"):
        at(CORE, "0.1.0", shallow)


def test_a_release_whose_tag_is_not_here_is_missing_not_forgotten(store: Store) -> None:
    made = {"date": "2026-11-22", "python": "3.11", "torch": "2.13.0", "transformers": "5.23.0", "wants": ""}
    written = Release(package="core", version="0.3.0", tested_with=(), **made)
    (store.repository / LEDGER).parent.mkdir()
    write_ledger(store.repository, [written])
    found = releases(CORE, store.repository)
    assert [source.label for source in found] == ["0.1.0", "0.2.0", "0.3.0"]
    assert found[-1].missing == "the tag core-v0.3.0 is not in this clone: `git fetch --tags` brings it"
    for ask in (store.tree, lambda source: store.wheel(CORE, source, TOOLS)):
        with pytest.raises(UnknownSource, match=r"core-v0\.3\.0 is not in this clone"):
            ask(found[-1])


def test_a_commits_worktree_is_made_once_and_leaves_the_working_tree_alone(store: Store) -> None:
    old = at(CORE, "0.1.0", store.repository)
    (store.repository / "mine.txt").write_text("not committed\n")
    path = store.tree(old)
    assert not (path / SPYRE.folder / "NOTE").exists()
    assert (store.repository / SPYRE.folder / "NOTE").exists()
    (path / "witness").touch()
    assert (store.tree(old) / "witness").exists()
    assert git(store.repository, "status", "--porcelain") == "?? mine.txt"
    assert store.tree(TREE) == store.repository


def test_a_worktree_that_was_deleted_is_made_again(store: Store) -> None:
    old = at(CORE, "0.1.0", store.repository)
    shutil.rmtree(store.tree(old))
    assert (store.tree(old) / SPYRE.folder / "pyproject.toml").is_file()


def test_a_worktree_that_is_not_whole_is_made_again(store: Store) -> None:
    old = at(CORE, "0.1.0", store.repository)
    path = store.tree(old)
    project = path / SPYRE.folder / "pyproject.toml"
    project.unlink()  # as when its making was ended
    assert store.tree(old) == path
    assert project.is_file()
    git(path, "checkout", "--quiet", "--detach", "core-v0.2.0")
    assert git(store.tree(old), "rev-parse", "HEAD") == old.commit


def test_a_wheel_is_built_once_per_commit_and_anew_when_the_commit_is_tagged(store: Store) -> None:
    commit = at(SPYRE, "HEAD", store.repository)
    first = store.wheel(SPYRE, commit, TOOLS)
    assert scratch.wheel_version(first) == f"0.1.0.dev0+g{scratch.sha(store.repository)[:9]}"
    assert store.wheel(SPYRE, commit, TOOLS).stat().st_mtime_ns == first.stat().st_mtime_ns
    git(store.repository, "tag", "spyre-v0.1.0")
    released = at(SPYRE, "0.1.0", store.repository)
    assert scratch.wheel_version(store.wheel(SPYRE, released, TOOLS)) == "0.1.0"


def test_the_trees_wheel_holds_what_is_not_committed(store: Store) -> None:
    (store.repository / SPYRE.folder / "src" / "vllm_spyre" / "added.py").write_text("ADDED = 1\n")
    wheel = store.wheel(SPYRE, TREE, TOOLS)
    assert scratch.wheel_text(wheel, "vllm_spyre/added.py") == "ADDED = 1\n"


def test_a_package_that_cannot_be_built_is_no_verdict(store: Store) -> None:
    (store.repository / SPYRE.folder / "pyproject.toml").write_text("[build-system\n")
    with pytest.raises(BuildFailed, match=r"plugins/spyre cannot be built"):
        store.wheel(SPYRE, TREE, TOOLS)


def test_a_package_that_did_not_exist_yet_is_said(store: Store) -> None:
    (store.repository / SPYRE.folder / "pyproject.toml").unlink()
    with pytest.raises(UnknownSource, match="there is no vllm-plugin-spyre at tree"):
        store.folder(SPYRE, TREE)
