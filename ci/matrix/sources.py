"""Where a package's code comes from: the tree as it lies, or a commit that a release, a tag or a hash names.

A commit is checked out once, into a worktree of its own, and a package's wheel is built there once. Nothing here touches
the working tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from ci.environments import Environment, clean_environ
from ci.extensions import BUILT
from ci.matrix.locks import locked
from ci.packages import ROOT, Package
from ci.processes import ended, run_said
from ci.release.ledger import read_ledger
from ci.versions import State, git, released_versions, state

__all__ = ["HERE", "TREE", "BuildFailed", "Source", "Store", "UnknownSource", "at", "of_commit", "releases"]

_SHORT = 10
"""Characters of a commit's hash that name it."""
_BUILD_LIMIT_S = 1800


class UnknownSource(LookupError):
    """No release, tag or commit is called this."""


class BuildFailed(RuntimeError):
    """A package cannot be built at a commit: that is no verdict about the package's behaviour."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One state of the code. `commit` is a full hash; None is the working tree, uncommitted changes included."""

    label: str
    commit: str | None
    missing: str = ""
    """Of a release that was made, why this clone cannot give it; empty for all that is here."""

    def __str__(self) -> str:
        return self.label


TREE = Source(label="tree", commit=None)


def of_commit(commit: str) -> Source:
    """The code at a commit, which its hash names."""
    return Source(label=commit[:_SHORT], commit=commit)


def releases(entry: Package, tree: Path = ROOT) -> list[Source]:
    """The package's releases, oldest first: tagged here, or known from the ledger and then `missing`."""
    tagged = released_versions(entry, tree)
    written = {Version(release.version) for release in read_ledger(tree) if release.package == entry.name}
    return [
        _tagged(entry, version, tree) if version in tagged else _missing(entry, version, tree)
        for version in sorted({*tagged, *written})
    ]


def _missing(entry: Package, version: Version, tree: Path) -> Source:
    why = f"the tag {entry.tag_prefix}{version} is not in this clone{_why(tree) or ': `git fetch --tags` brings it'}"
    return Source(label=str(version), commit=None, missing=why)


def at(entry: Package, name: str, tree: Path = ROOT) -> Source:
    """The package at `tree`, at a release (`0.1.0`), or at anything that git takes for a commit.

    Raises:
        UnknownSource: it is none of these; the message lists the package's releases.
    """
    if name == TREE.label:
        return TREE
    known = releases(entry, tree)
    found = next((source for source in known if source.label == name), None)
    if found is not None:
        return found
    try:
        commit = git(tree, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    except subprocess.CalledProcessError:
        listed = ", ".join(map(str, known)) or "none"
        raise UnknownSource(
            f"{name!r} is neither `tree`, a release of {entry.distribution} (it has: {listed}), nor a commit{_why(tree)}"
        ) from None
    return of_commit(commit)


def _tagged(entry: Package, version: Version, tree: Path) -> Source:
    commit = git(tree, "rev-parse", f"refs/tags/{entry.tag_prefix}{version}^{{commit}}")
    return Source(label=str(version), commit=commit)


def _why(tree: Path) -> str:
    shallow = git(tree, "rev-parse", "--is-shallow-repository") == "true"
    return "; this clone is shallow: `git fetch --unshallow --tags` brings the rest" if shallow else ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """What is kept of commits: worktrees and wheels, by hash, below `cache`."""

    repository: Path
    cache: Path

    def tree(self, source: Source) -> Path:
        """The folder that holds the whole repository at `source`."""
        if source.missing:
            raise UnknownSource(source.missing)
        if source.commit is None:
            return self.repository
        path = self.cache / "worktrees" / source.commit[:_SHORT]
        with locked(path):
            if not _holds(path, source.commit):
                shutil.rmtree(path, ignore_errors=True)
                # forced, for where an earlier one was deleted as a folder
                git(self.repository, "worktree", "add", "--force", "--detach", "--quiet", str(path), source.commit)
        return path

    def folder(self, entry: Package, source: Source) -> Path:
        """The package's folder at `source`.

        Raises:
            UnknownSource: the package did not exist there.
        """
        path = self.tree(source) / entry.folder
        if not (path / "pyproject.toml").is_file():
            raise UnknownSource(f"there is no {entry.distribution} at {source}: {entry.folder} holds no pyproject.toml")
        return path

    def wheel(self, entry: Package, source: Source, tools: Environment) -> Path:
        """The package's wheel at `source`, built with what `tools` holds; the tree's is built anew each time.

        Raises:
            BuildFailed: with the end of what the build said.
        """
        if source.missing:
            raise UnknownSource(source.missing)
        kept = self.cache / "wheels" / self._key(entry, source)
        with locked(kept):
            if source.commit is None:
                shutil.rmtree(kept, ignore_errors=True)
            if not kept.is_dir():
                scratch = Path(tempfile.mkdtemp(dir=kept.parent))
                _build(self.folder(entry, source), scratch, tools)
                scratch.rename(kept)  # at once: a build that was ended leaves no half of it
        (wheel,) = kept.glob(entry.wheel_glob)
        return wheel

    def _key(self, entry: Package, source: Source) -> str:
        """The release's tag belongs to it: the same commit has another version once it is tagged."""
        if source.commit is None:
            return f"tree-{_own_number(self.cache / 'wheels')}/{entry.name}"
        tags = git(self.repository, "tag", "--list", "--points-at", source.commit, f"{entry.tag_prefix}*").split()
        return f"{source.commit[:_SHORT]}/{'-'.join([entry.name, *tags])}"


HERE = Store(repository=ROOT, cache=ROOT / ".nox" / "matrix")


def _holds(worktree: Path, commit: str) -> bool:
    """Whether it is there, whole: one whose making was ended is not, nor one in which somebody worked."""
    if not (worktree / ".git").exists():
        return False
    try:
        return state(worktree, untracked=False) == State(commit=commit, is_changed=False)
    except subprocess.CalledProcessError:
        return False  # git knows it no more


def _own_number(wheels: Path) -> int:
    """This process's; what ended ones left of the tree is removed, since nobody would use it again."""
    for left in wheels.glob("tree-*"):
        if not Path("/proc", left.name.removeprefix("tree-")).exists():
            shutil.rmtree(left, ignore_errors=True)
    return os.getpid()


def _build(folder: Path, out: Path, tools: Environment) -> None:
    command = [tools.python, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, folder]
    environ = {key: value for key, value in clean_environ().items() if not key.startswith("SETUPTOOLS_SCM")} | dict(
        BUILT
    )
    ending, said = run_said([str(part) for part in command], folder=folder, env=environ, limit_s=_BUILD_LIMIT_S)
    if ending.code != 0:
        shutil.rmtree(out)
        raise BuildFailed(f"{folder} cannot be built ({ended(ending.code)}):\n{_end(said)}")


def _end(text: str, lines: int = 15) -> str:
    return "\n".join(text.splitlines()[-lines:])
