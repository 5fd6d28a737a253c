"""Versions as they come out of real builds: untagged, shallow, tagged, dirty, and from an sdist."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from packaging.version import Version

from ci.packages import CORE, PACKAGES, Package, package
from ci.tests import scratch
from ci.versions import git, next_version, released_versions, stale_next_version, state, state_since

every_package = pytest.mark.parametrize("entry", PACKAGES, ids=lambda entry: entry.name)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scratch.make_repository(tmp_path_factory.mktemp("versions") / "origin")


@pytest.fixture
def tree(origin: Path, tmp_path: Path) -> Path:
    """A clone of its own for a test that changes it."""
    return scratch.clone(origin, tmp_path / "tree")


def development_version(entry: Package, tree: Path) -> str:
    """`0.1.0.dev0+g<sha>` for the commit that `tree` stands on."""
    return f"{next_version(entry, tree)}+g{scratch.sha(tree)[:9]}"


@every_package
def test_an_untagged_tree_gives_the_next_version_and_its_commit(origin: Path, tmp_path: Path, entry: Package) -> None:
    assert scratch.version(origin, entry, tmp_path) == development_version(entry, origin)


@every_package
def test_a_shallow_clone_gives_the_same_version_as_the_whole(origin: Path, tmp_path: Path, entry: Package) -> None:
    shallow = scratch.clone(origin, tmp_path / "shallow", "--depth=1", "--no-tags")
    assert git(shallow, "rev-list", "--count", "HEAD") == "1"
    assert scratch.version(shallow, entry, tmp_path / "out") == development_version(entry, origin)


@every_package
def test_on_its_own_tag_a_package_has_the_tags_version(tree: Path, tmp_path: Path, entry: Package) -> None:
    git(tree, "tag", f"{entry.tag_prefix}3.2.1")
    assert scratch.version(tree, entry, tmp_path / "out") == "3.2.1"


def test_a_release_candidate_is_a_version_too(tree: Path, tmp_path: Path) -> None:
    git(tree, "tag", "core-v3.2.1rc2")
    assert scratch.version(tree, CORE, tmp_path / "out") == "3.2.1rc2"


@every_package
def test_the_tags_of_other_packages_count_for_nothing(tree: Path, tmp_path: Path, entry: Package) -> None:
    for other in PACKAGES:
        if other is not entry:
            git(tree, "tag", f"{other.tag_prefix}9.9.9")
    assert scratch.version(tree, entry, tmp_path / "out") == development_version(entry, tree)


def test_one_commit_after_the_tag_it_is_the_next_version_again(tree: Path, tmp_path: Path) -> None:
    git(tree, "tag", "core-v0.0.9")
    scratch.commit(tree, "later")
    assert scratch.version(tree, CORE, tmp_path / "out") == development_version(CORE, tree)


@pytest.mark.parametrize("tagged", [False, True])
def test_uncommitted_changes_show(tree: Path, tmp_path: Path, tagged: bool) -> None:
    if tagged:
        git(tree, "tag", "core-v3.2.1")
    (tree / "core/README.md").write_text("changed")
    built = Version(scratch.version(tree, CORE, tmp_path / "out"))
    assert built.public == ("3.2.1" if tagged else str(next_version(CORE, tree)))
    assert built.local is not None
    assert built.local.split(".")[-1].startswith("d20"), f"no dirty marker in {built}"


@pytest.mark.parametrize("name", ["core", "cpu_ref"])
@pytest.mark.parametrize("tagged", [False, True])
def test_a_wheel_from_an_sdist_has_the_sdists_version(tree: Path, tmp_path: Path, name: str, tagged: bool) -> None:
    entry = package(name)
    wanted = development_version(entry, tree)
    if tagged:
        wanted = "3.2.1"
        git(tree, "tag", f"{entry.tag_prefix}{wanted}")
    unpacked = scratch.sdist(tree, entry, tmp_path / "sdist")
    assert unpacked.name == f"{entry.distribution.replace('-', '_')}-{wanted}"
    built = scratch.wheel(unpacked, tmp_path / "wheel")
    assert scratch.wheel_version(built) == wanted


def test_an_exported_tree_without_git_has_the_next_version(origin: Path, tmp_path: Path) -> None:
    git(origin, "archive", "--format=zip", f"--output={tmp_path / 'tree.zip'}", "HEAD")
    with zipfile.ZipFile(tmp_path / "tree.zip") as archive:
        archive.extractall(tmp_path / "exported")
    assert scratch.version(tmp_path / "exported", CORE, tmp_path / "out") == str(next_version(CORE, origin))


def test_the_core_wheel_holds_the_embedded_model_and_the_command(origin: Path, tmp_path: Path) -> None:
    built = scratch.wheel(scratch.sdist(origin, CORE, tmp_path / "sdist"), tmp_path / "wheel")
    assert "vllm = vllm.entrypoints.cli.main:main" in scratch.wheel_text(built, "entry_points.txt")
    with zipfile.ZipFile(built) as content:
        names = content.namelist()
        weights = content.getinfo("vllm/assets/tiny/model.safetensors")
    assert weights.file_size == 6_955_520
    assert {f"vllm/assets/tiny/{name}" for name in ("config.json", "tokenizer.json", "README.md")} <= set(names)
    assert "vllm/py.typed" in names
    assert not [name for name in names if not name.startswith(("vllm/", "vllm_core-"))]


@pytest.mark.parametrize("name", ["cpu_ref", "ascend", "spyre"])
def test_a_plugins_wheel_says_where_it_starts_and_which_cores_it_fits(origin: Path, tmp_path: Path, name: str) -> None:
    entry = package(name)
    built = scratch.wheel(origin / entry.folder, tmp_path)
    points = scratch.wheel_text(built, "entry_points.txt")
    assert points.split("\n")[:2] == ["[vllm.platform_plugins]", f"{name} = vllm_{name}:register"]
    assert "Requires-Dist: vllm-core<0.2.dev0,>=0.1.dev0" in scratch.wheel_text(built, ".dist-info/METADATA")


def test_a_next_version_that_is_already_released_is_noticed(tree: Path) -> None:
    assert stale_next_version(CORE, tree) is None
    git(tree, "tag", "core-v0.0.9")
    assert stale_next_version(CORE, tree) is None
    git(tree, "tag", "core-v0.1.0")
    assert released_versions(CORE, tree) == [Version("0.0.9"), Version("0.1.0")]
    assert stale_next_version(CORE, tree) is None, "the release itself"
    scratch.commit(tree, "later")
    told = stale_next_version(CORE, tree)
    assert told == "vllm-core 0.1.0 is released, but the committed next version is 0.1.0.dev0: raise it"


def test_a_release_of_another_branch_is_none_of_this_one(tree: Path) -> None:
    git(tree, "checkout", "--quiet", "-b", "newer")
    scratch.commit(tree, "newer")
    git(tree, "tag", "core-v0.7.0")
    git(tree, "checkout", "--quiet", "main")
    assert released_versions(CORE, tree) == [Version("0.7.0")]
    assert released_versions(CORE, tree, merged=True) == []
    assert stale_next_version(CORE, tree) is None


def test_a_tag_that_is_no_version_is_no_release(tree: Path) -> None:
    for tag in ("core-v-try", "core-v0.2", "core-v0.1.0-rc1", "core-v0.1.0rc1", "core-v0.1.0"):
        git(tree, "tag", tag)
    assert released_versions(CORE, tree) == [Version("0.1.0rc1"), Version("0.1.0")]


def test_what_began_on_a_commit_is_of_that_commit_and_of_a_changed_tree_once_it_moves(tree: Path) -> None:
    began = state(tree)
    assert state_since(began, tree) == began
    (tree / "new.txt").touch()
    dirty = state(tree)
    assert (dirty.is_changed, state_since(began, tree).is_changed) == (True, True)
    scratch.commit(tree, "meanwhile")
    assert not state(tree).is_changed
    for before in (began, dirty):
        assert (state_since(before, tree).commit, state_since(before, tree).is_changed) == (began.commit, True)


def test_a_git_command_means_the_tree_it_is_given_within_a_hook_too(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(tmp_path, "init", "--quiet", "callers")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "callers" / ".git"))
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "callers" / "index"))
    scratch.commit(tree, "elsewhere")
    assert git(tree, "log", "-1", "--format=%s") == "elsewhere"
    assert scratch.version(tree, CORE, tmp_path / "out") == development_version(CORE, tree)
    assert not (tmp_path / "callers" / "index").exists()


@every_package
def test_the_committed_next_version_of_this_tree_is_not_stale(entry: Package) -> None:
    assert stale_next_version(entry) is None
