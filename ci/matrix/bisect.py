"""The first commit that breaks a cell, found by halving; every commit is built in a worktree, the working tree is never touched.

What the cell's name calls `tree` moves with the commits, what it names by release stays. Commits that do not touch a moving
package are left out, for they build the same wheels. One that cannot be built is no verdict: its neighbours are asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

from ci.matrix.cells import Cell
from ci.matrix.declared import MatrixError
from ci.matrix.results import Result, Status
from ci.matrix.sources import TREE, of_commit
from ci.packages import CORE, Package
from ci.versions import git

__all__ = ["Found", "Verdict", "at_commit", "candidates", "moving", "search", "tell", "verdict"]


class Verdict(str, Enum):
    """What a commit says about the cell."""

    GOOD = "good"
    BAD = "bad"
    UNTESTABLE = "cannot be tested"


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """`suspects`: the first breaking commit is among these, oldest first; one, unless its neighbours cannot be tested."""

    suspects: tuple[str, ...]
    asked: Mapping[str, Verdict] = field(default_factory=dict)


def moving(cell: Cell) -> list[Package]:
    """The packages that a bisection moves through the commits.

    Raises:
        MatrixError: the cell names a release of each.
    """
    moved = [CORE] if cell.core == TREE else []
    moved += [cell.package] if cell.release == TREE and not cell.is_core else []
    if not moved:
        raise MatrixError(
            f"nothing moves in {cell.name}: it names a release of both packages. Say core=tree, or no release"
        )
    return moved


def at_commit(cell: Cell, commit: str) -> Cell:
    """The cell with what is the tree's in it at a commit."""
    source = of_commit(commit)
    return replace(
        cell,
        core=source if cell.core == TREE else cell.core,
        release=source if cell.release == TREE else cell.release,
        name=f"{cell.name} at {commit[:10]}",
    )


def candidates(tree: Path, good: str, bad: str, packages: Sequence[Package]) -> list[str]:
    """Commits after `good` up to `bad` that touch the packages, along first parents, oldest first.

    Raises:
        MatrixError: there is none, or `good` does not lie behind `bad`.
    """
    if git(tree, "merge-base", good, bad) != good:
        raise MatrixError(
            f"{good[:10]} does not lie behind {bad[:10]}: a bisection goes from an older commit to a newer one"
        )
    folders = [entry.folder for entry in packages]
    found = git(tree, "rev-list", "--first-parent", "--reverse", f"{good}..{bad}", "--", *folders).splitlines()
    if not found:
        raise MatrixError(f"no commit between {good[:10]} and {bad[:10]} touches {', '.join(folders)}")
    return found


def verdict(result: Result) -> Verdict:
    """A pass is good, a failure bad; what could not be built, run or paired says nothing."""
    return {Status.PASSED: Verdict.GOOD, Status.FAILED: Verdict.BAD}.get(result.status, Verdict.UNTESTABLE)


def search(commits: Sequence[str], ask: Callable[[str], Verdict]) -> Found:
    """The first bad one of these commits, whose last is known to be bad, and what lies before the first known to be good."""
    asked: dict[str, Verdict] = {}
    good, bad = -1, len(commits) - 1
    while (number := _next(commits, good, bad, asked)) is not None:
        asked[commits[number]] = answer = ask(commits[number])
        if answer is Verdict.GOOD:
            good = number
        elif answer is Verdict.BAD:
            bad = number
    return Found(suspects=tuple(commits[good + 1 : bad + 1]), asked=asked)


def _next(commits: Sequence[str], good: int, bad: int, asked: Mapping[str, Verdict]) -> int | None:
    """The place nearest to the middle that was not asked yet."""
    middle = (good + bad) // 2
    between = [number for number in range(good + 1, bad) if commits[number] not in asked]
    return min(between, key=lambda number: abs(number - middle), default=None)


def tell(found: Found, tree: Path) -> Iterator[str]:
    """The lines to print in the end."""
    if len(found.suspects) == 1:
        yield "The first commit that breaks it:"
    else:
        yield f"One of these {len(found.suspects)} commits is the first that breaks it; all but the last cannot be tested:"
    for commit in found.suspects:
        yield ""
        yield git(tree, "show", "--stat", "--format=%h %an, %as%n    %s", commit)
