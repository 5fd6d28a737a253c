"""The version rules: where a package's next version is committed, and which releases there are.

Each `pyproject.toml` commits the next version as `[tool.setuptools_scm] fallback_version = "X.Y.Z.dev0"`. Builds follow
from it: exactly on the package's tag the version is the tag's, everywhere else `X.Y.Z.dev0+g<sha>`, however shallow or
tagless the clone. Only a release asks for more.
"""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

from packaging.version import Version

from ci.packages import ROOT, Package

__all__ = ["git", "next_version", "released_versions", "stale_next_version"]


def git(tree: Path, *arguments: str) -> str:
    """Output of a git command in `tree`, stripped; raises `CalledProcessError` when it fails."""
    done = subprocess.run(["git", *arguments], cwd=tree, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def next_version(entry: Package, tree: Path = ROOT) -> Version:
    """The committed next version of a package, e.g. `0.1.0.dev0`."""
    project = tomllib.loads((tree / entry.folder / "pyproject.toml").read_text())
    return Version(project["tool"]["setuptools_scm"]["fallback_version"])


def released_versions(entry: Package, tree: Path = ROOT, *, merged: bool = False) -> list[Version]:
    """Versions that have a tag of this package in `tree`, oldest first; `merged`: only those that HEAD comes from."""
    reachable = ("--merged", "HEAD") if merged else ()
    tags = git(tree, "tag", "--list", *reachable, f"{entry.tag_prefix}*").split()
    return sorted(Version(tag.removeprefix(entry.tag_prefix)) for tag in tags)


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
