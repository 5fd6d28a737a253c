"""The version rules: where a package's next version is committed, and which releases there are.

Each `pyproject.toml` commits the next version as `[tool.setuptools_scm] fallback_version = "X.Y.Z.dev0"`. Builds follow
from it: exactly on the package's tag the version is the tag's, everywhere else `X.Y.Z.dev0+g<sha>`, however shallow or
tagless the clone. Only a release asks for more.
"""

from __future__ import annotations

import subprocess
import tomllib
from dataclasses import dataclass
from pathlib import Path

from packaging.version import InvalidVersion, Version

from ci.environments import clean_environ
from ci.packages import ROOT, Package

__all__ = ["State", "git", "next_version", "released_versions", "stale_next_version", "state", "state_since"]


def git(tree: Path, *arguments: str) -> str:
    """Output of a git command in `tree`, stripped; raises `CalledProcessError` when it fails."""
    done = subprocess.run(
        ["git", *arguments], cwd=tree, env=clean_environ(), capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Which code a tree holds. `is_changed`: something in it is not committed."""

    commit: str
    is_changed: bool


def state(tree: Path, *, untracked: bool = True) -> State:
    """`untracked`: whether new files count as a change."""
    counted = f"--untracked-files={'normal' if untracked else 'no'}"
    return State(commit=git(tree, "rev-parse", "HEAD"), is_changed=bool(git(tree, "status", "--porcelain", counted)))


def state_since(began: State, tree: Path) -> State:
    """What a work tested that began at `began`: that commit, and a changed tree where it has moved or changed meanwhile."""
    return State(commit=began.commit, is_changed=began.is_changed or state(tree) != began)


def next_version(entry: Package, tree: Path = ROOT) -> Version:
    """The committed next version of a package, e.g. `0.1.0.dev0`."""
    project = tomllib.loads((tree / entry.folder / "pyproject.toml").read_text())
    return Version(project["tool"]["setuptools_scm"]["fallback_version"])


def released_versions(entry: Package, tree: Path = ROOT, *, merged: bool = False) -> list[Version]:
    """Versions that have a tag of this package in `tree`, oldest first; `merged`: only those that HEAD comes from.

    What follows the prefix must be a version as a release writes it: `core-v-try` and `core-v0.1` are somebody's own marks.
    """
    reachable = ("--merged", "HEAD") if merged else ()
    tags = git(tree, "tag", "--list", *reachable, f"{entry.tag_prefix}*").split()
    texts = [tag.removeprefix(entry.tag_prefix) for tag in tags]
    return sorted(Version(text) for text in texts if _is_release(text))


def _is_release(text: str) -> bool:
    try:
        version = Version(text)
    except InvalidVersion:
        return False
    return str(version) == text and len(version.release) == 3


def stale_next_version(entry: Package, tree: Path = ROOT) -> str | None:
    """A sentence when the next version is not above the last release: development builds would sort below it.

    A commit that carries the release's own tag is that release; the next version is raised after it.
    """
    coming, released = next_version(entry, tree), released_versions(entry, tree, merged=True)
    if not released or coming > released[-1]:
        return None
    here = git(tree, "tag", "--list", "--points-at", "HEAD").split()
    if f"{entry.tag_prefix}{released[-1]}" in here and coming.base_version == released[-1].base_version:
        return None
    return f"{entry.distribution} {released[-1]} is released, but the committed next version is {coming}: raise it"
