"""Halving: against a naive walk over every history of a size, with commits that cannot be tested; and over a real one."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import pytest

from ci.matrix.bisect import Verdict, at_commit, candidates, moving, search, tell
from ci.matrix.cells import parse
from ci.matrix.declared import MatrixError, load
from ci.packages import CORE, package
from ci.tests import scratch
from ci.versions import git

GOOD, BAD, UNTESTABLE = Verdict.GOOD, Verdict.BAD, Verdict.UNTESTABLE
SPYRE = package("spyre")


def suspects_by_walking(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    """The naive twin: everything after the last good commit, up to the first bad one."""
    first_bad = verdicts.index(BAD)
    last_good = max((number for number in range(first_bad) if verdicts[number] is GOOD), default=-1)
    return tuple(str(number) for number in range(last_good + 1, first_bad + 1))


def histories(size: int) -> list[list[Verdict]]:
    """All of `size` commits that go from good to bad once, any but the last of them perhaps untestable."""
    found = []
    for turn, unknown in itertools.product(range(size), itertools.product([False, True], repeat=size - 1)):
        plain = [GOOD] * turn + [BAD] * (size - turn)
        found.append(
            [UNTESTABLE if hidden else verdict for verdict, hidden in zip(plain, [*unknown, False], strict=True)]
        )
    return found


@pytest.mark.parametrize("size", [1, 2, 3, 6])
def test_every_history_gives_the_suspects_that_a_walk_gives(size: int) -> None:
    for verdicts in histories(size):
        commits = [str(number) for number in range(size)]
        found = search(commits, lambda commit, v=verdicts: v[int(commit)])  # type: ignore[misc]
        assert found.suspects == suspects_by_walking(verdicts), verdicts


def test_a_thousand_commits_are_asked_about_ten_times() -> None:
    commits = [str(number) for number in range(1000)]
    found = search(commits, lambda commit: BAD if int(commit) >= 637 else GOOD)
    assert found.suspects == ("637",)
    assert len(found.asked) <= 10


@pytest.fixture
def history(tmp_path: Path) -> Path:
    """Commits called 0 to 5, which change core, spyre, core, a page, ascend and core."""
    path = tmp_path / "history"
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    for number, folder in enumerate(["core", SPYRE.folder, "core", "docs", "plugins/ascend", "core"]):
        (path / folder).mkdir(parents=True, exist_ok=True)
        (path / folder / f"{number}.txt").touch()
        scratch.commit(path, str(number))
    return path


def commit(tree: Path, message: str) -> str:
    return git(tree, "log", "--format=%H", f"--grep=^{message}$")


def subjects(tree: Path, commits: Sequence[str]) -> list[str]:
    return [git(tree, "log", "-1", "--format=%s", each) for each in commits]


def test_only_commits_that_touch_what_moves_are_asked(history: Path) -> None:
    good, bad = commit(history, "0"), commit(history, "5")
    assert subjects(history, candidates(history, good, bad, [CORE, SPYRE])) == ["1", "2", "5"]
    assert subjects(history, candidates(history, good, bad, [CORE])) == ["2", "5"]
    with pytest.raises(MatrixError, match="touches plugins/spyre"):
        candidates(history, commit(history, "1"), bad, [SPYRE])
    with pytest.raises(MatrixError, match="does not lie behind"):
        candidates(history, bad, good, [CORE])


def test_what_the_name_calls_tree_moves_and_releases_stay(history: Path) -> None:
    declared, old = load(), commit(history, "0")
    both = parse("plugin(spyre, core=tree, py=3.11)", declared, history)
    assert moving(both) == [CORE, SPYRE]
    moved = at_commit(both, old)
    assert (moved.core.commit, moved.release.commit) == (old, old)
    fixed = parse(f"plugin(spyre, core={old}, py=3.11)", declared, history)
    assert moving(fixed) == [SPYRE]
    assert at_commit(fixed, commit(history, "5")).core.commit == old
    with pytest.raises(MatrixError, match="nothing moves in"):
        moving(at_commit(both, old))


def test_commits_that_cannot_be_tested_are_told_as_suspects(history: Path) -> None:
    commits = [commit(history, str(number)) for number in range(1, 6)]
    found = search(commits, lambda each: UNTESTABLE if each == commits[2] else BAD if each in commits[2:] else GOOD)
    text = "\n".join(tell(found, history))
    assert "One of these 2 commits is the first that breaks it" in text
    assert [line.strip() for line in text.splitlines() if line.startswith("    ")] == ["3", "4"]
    one = search(commits, lambda each: BAD if each in commits[2:] else GOOD)
    assert "The first commit that breaks it:" in "\n".join(tell(one, history))
