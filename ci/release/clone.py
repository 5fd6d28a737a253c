"""Owns whether a clone can be released from: nothing uncommitted, all of the history, all of the tags."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ci.packages import package
from ci.release.ledger import read_ledger
from ci.release.refusal import Refused
from ci.versions import git

__all__ = ["check_clone"]


def check_clone(tree: Path, *, for_real: bool) -> None:
    """Raises `Refused` with everything that is wrong at once. A real release also needs a branch to stand on."""
    wrong = [*_uncommitted(tree), *_missing(tree), *(_unfit(tree) if for_real else ())]
    if wrong:
        raise Refused("; ".join(what for what, _ in wrong), remedy="; ".join(remedy for _, remedy in wrong))


def _uncommitted(tree: Path) -> Iterator[tuple[str, str]]:
    changed = git(tree, "status", "--porcelain").splitlines()
    if changed:
        shown = ", ".join(line[2:].strip() for line in changed[:3]) + (" …" if len(changed) > 3 else "")
        yield f"the tree has uncommitted changes ({shown})", "commit them, or release from a fresh clone"


def _missing(tree: Path) -> Iterator[tuple[str, str]]:
    if git(tree, "rev-parse", "--is-shallow-repository") == "true":
        yield "the clone is shallow", "git fetch --unshallow --tags"
    known = set(git(tree, "tag", "--list").split())
    tags = [f"{package(each.package).tag_prefix}{each.version}" for each in read_ledger(tree)]
    absent = [tag for tag in tags if tag not in known]
    if absent:
        yield f"releases that ci/releases.toml lists have no tag here ({', '.join(absent)})", "git fetch --tags"


def _unfit(tree: Path) -> Iterator[tuple[str, str]]:
    if not git(tree, "branch", "--show-current"):
        yield "HEAD is on no branch, so the release's commit would belong to none", "git switch main"
    if not git(tree, "config", "--default", "", "user.name") or not git(tree, "config", "--default", "", "user.email"):
        yield "git does not know who you are", "set git config user.name and user.email"
