"""The release's commits and tag: made in a clone, of one package only, adopted whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.version import Version

from ci.packages import CANN_SIM, CORE, package
from ci.release.apart import check_apart
from ci.release.candidate import Candidate, announce_next, make_candidate, record
from ci.release.clone import check_clone
from ci.release.compatibility import PAGE, render_page
from ci.release.ledger import LEDGER, Release, read_ledger, write_ledger
from ci.release.publish import CHECKSUMS, adopt, lay_out
from ci.release.refusal import Refused
from ci.release.story import Order, choose_version
from ci.tests import scratch
from ci.tests.releases import HERE
from ci.versions import git, next_version, released_versions, stale_next_version

CPU_REF = package("cpu_ref")
RELEASE = Release(
    package="cpu_ref",
    version="0.1.0",
    date="2030-01-02",
    python="3.11",
    torch="2.13.0",
    transformers="5.23.0",
    wants="<0.2.dev0,>=0.1.dev0",
    tested_with=("core 0.1.0",),
)


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The packages, with a fragment to be released, and the folders of ledger and page."""
    path = scratch.make_repository(tmp_path_factory.mktemp("release") / "origin")
    (path / "docs").mkdir()
    (path / "ci").mkdir()
    (path / PAGE).write_text(render_page(path))
    write_ledger(path, [])
    (path / CPU_REF.folder / "changelog.d" / "77.fixed.md").write_text("The seventy-seventh is mended.\n")
    scratch.commit(path, "docs")
    return path


@pytest.fixture
def tree(origin: Path, tmp_path: Path) -> Path:
    path = scratch.clone(origin, tmp_path / "tree")
    git(path, "config", "user.name", "a manager")
    git(path, "config", "user.email", "manager@example.invalid")
    return path


def candidate(tree: Path, tmp_path: Path, version: str = "0.1.0") -> Candidate:
    date = "2030-01-02T03:04:05+00:00"
    return make_candidate(CPU_REF, Version(version), tree, tmp_path / "clone", date=date, tools=HERE)


def test_the_candidate_is_one_commit_with_the_changelog_and_a_tag(tree: Path, tmp_path: Path) -> None:
    made = candidate(tree, tmp_path)
    record(made, RELEASE)
    assert git(made.tree, "rev-list", f"{made.base}..HEAD").count("\n") == 0
    assert git(made.tree, "cat-file", "-t", "cpu-ref-v0.1.0") == "tag"
    assert git(made.tree, "rev-parse", "cpu-ref-v0.1.0^{commit}") == git(made.tree, "rev-parse", "HEAD")
    assert git(made.tree, "show", "--no-patch", "--format=%an %cI", "HEAD") == "a manager 2030-01-02T03:04:05+00:00"
    changelog = (made.tree / CPU_REF.folder / "CHANGELOG.md").read_text()
    assert "## 0.1.0 (2030-01-02)" in changelog
    assert "The seventy-seventh is mended" in changelog
    assert [path.name for path in (made.tree / CPU_REF.folder / "changelog.d").iterdir()] == [".gitignore"]
    assert read_ledger(made.tree) == [RELEASE]
    assert (made.tree / PAGE).read_text() == render_page(made.tree)


def test_the_repository_is_as_it_was_until_the_release_is_adopted(tree: Path, tmp_path: Path) -> None:
    before = git(tree, "rev-parse", "HEAD")
    made = candidate(tree, tmp_path)
    record(made, RELEASE)
    assert announce_next(made) == "0.1.1.dev0"
    check_apart(CPU_REF, made.tree, made.base)
    assert (git(tree, "rev-parse", "HEAD"), git(tree, "tag"), git(tree, "status", "--porcelain")) == (before, "", "")
    adopt(made, tree)
    assert git(tree, "log", "--format=%s", f"{before}..HEAD").splitlines() == [
        "vllm-plugin-cpu-ref: the next version is 0.1.1.dev0",
        "release: vllm-plugin-cpu-ref 0.1.0",
    ]
    assert released_versions(CPU_REF, tree) == [Version("0.1.0")]
    assert next_version(CPU_REF, tree) == Version("0.1.1.dev0")
    assert stale_next_version(CPU_REF, tree) is None
    assert released_versions(CORE, tree) == []


def test_a_candidates_next_version_is_its_own_release(tree: Path, tmp_path: Path) -> None:
    made = candidate(tree, tmp_path, "0.2.0rc1")
    assert announce_next(made) == "0.2.0.dev0"


def test_after_a_candidate_has_used_up_the_fragments_the_final_version_is_wished_by_name(
    tree: Path, tmp_path: Path
) -> None:
    made = candidate(tree, tmp_path, "0.2.0rc1")
    announce_next(made)
    with pytest.raises(Refused, match=r"no changelog fragment .*\n.*give the version"):
        choose_version(Order(entry=CPU_REF), made.tree)
    assert choose_version(Order(entry=CPU_REF, wish="0.2.0"), made.tree) == Version("0.2.0")
    final = make_candidate(CPU_REF, Version("0.2.0"), made.tree, tmp_path / "final", date=made.date, tools=HERE)
    changelog = (final.tree / CPU_REF.folder / "CHANGELOG.md").read_text()
    assert changelog.index("## 0.2.0 (2030") < changelog.index("## 0.2.0rc1 (2030") < changelog.index("seventy-seventh")


def test_a_branch_that_has_moved_takes_nothing(tree: Path, tmp_path: Path) -> None:
    made = candidate(tree, tmp_path)
    scratch.commit(tree, "meanwhile")
    with pytest.raises(Refused, match="main has moved since the release began"):
        adopt(made, tree)
    assert git(tree, "tag") == ""


def test_a_change_of_another_package_is_refused(tree: Path, tmp_path: Path) -> None:
    made = candidate(tree, tmp_path)
    (made.tree / CANN_SIM.folder / "README.md").write_text("changed")
    scratch.commit(made.tree, "too much")
    with pytest.raises(Refused, match=r"would change plugins/ascend/cann_sim/README\.md"):
        check_apart(CPU_REF, made.tree, made.base)
    with pytest.raises(Refused, match=r"plugins/cpu_ref/CHANGELOG\.md"):
        check_apart(CANN_SIM, made.tree, made.base)


def test_another_packages_tag_is_refused(tree: Path, tmp_path: Path) -> None:
    made = candidate(tree, tmp_path)
    git(made.tree, "tag", "core-v9.9.9")
    with pytest.raises(Refused, match=r"would change core"):
        check_apart(CPU_REF, made.tree, made.base)


def test_a_version_that_any_branch_has_is_not_made_again(tree: Path) -> None:
    order = Order(entry=CPU_REF, wish="0.2.0")
    assert choose_version(order, tree) == Version("0.2.0")
    git(tree, "switch", "--quiet", "--create", "other")
    scratch.commit(tree, "elsewhere")
    git(tree, "tag", "cpu-ref-v0.2.0")
    git(tree, "switch", "--quiet", "main")
    with pytest.raises(Refused, match=r"cpu-ref-v0\.2\.0 is a tag of this repository"):
        choose_version(order, tree)


def test_a_candidate_older_than_one_that_was_made_is_refused(tree: Path) -> None:
    git(tree, "tag", "cpu-ref-v0.2.0rc2")
    with pytest.raises(Refused, match=r"0\.2\.0rc1 is older than 0\.2\.0rc2"):
        choose_version(Order(entry=CPU_REF, wish="0.2.0rc1"), tree)
    assert choose_version(Order(entry=CPU_REF, wish="0.2.0"), tree) == Version("0.2.0")


def test_what_is_wrong_with_a_clone_is_said_at_once(origin: Path, tree: Path, tmp_path: Path) -> None:
    check_clone(tree, for_real=True)
    write_ledger(tree, [RELEASE])
    with pytest.raises(
        Refused, match=r"uncommitted changes \(ci/releases.toml\).*have no tag here \(cpu-ref-v0\.1\.0\)"
    ):
        check_clone(tree, for_real=False)
    git(tree, "checkout", "--quiet", "--", str(LEDGER))
    git(tree, "checkout", "--quiet", "--detach")
    check_clone(tree, for_real=False)
    with pytest.raises(Refused, match="HEAD is on no branch"):
        check_clone(tree, for_real=True)
    git(tree, "switch", "--quiet", "main")
    git(tree, "config", "user.email", "")
    with pytest.raises(Refused, match="git does not know who you are"):
        check_clone(tree, for_real=True)
    shallow = scratch.clone(origin, tmp_path / "shallow", "--depth=1")
    with pytest.raises(Refused, match="git fetch --unshallow --tags"):
        check_clone(shallow, for_real=False)


def test_the_checksums_are_those_of_the_files_and_old_files_go(tmp_path: Path) -> None:
    (tmp_path / "one.whl").write_bytes(b"one")
    folder = lay_out(CPU_REF, [tmp_path / "one.whl"], tmp_path)
    (tmp_path / "two.whl").write_bytes(b"two")
    assert lay_out(CPU_REF, [tmp_path / "two.whl"], tmp_path) == folder
    assert {path.name for path in folder.iterdir()} == {"two.whl", CHECKSUMS}
    # printf two | sha256sum
    assert (folder / CHECKSUMS).read_text() == (
        "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3  two.whl\n"
    )
