"""Owns that a release touches one package: no file, no version and no tag of another one changes."""

from __future__ import annotations

from pathlib import Path

from ci.packages import PACKAGES, Package, owner
from ci.release.compatibility import PAGE
from ci.release.ledger import LEDGER
from ci.release.refusal import Refused
from ci.versions import git

__all__ = ["check_apart"]

_SHARED = frozenset({str(PAGE), str(LEDGER)})


def check_apart(entry: Package, tree: Path, base: str) -> None:
    """Raises `Refused` when anything between the commit `base` and HEAD is not this package's or the releases' own."""
    changed = git(tree, "diff", "--name-only", "--no-renames", base, "HEAD").splitlines()
    foreign = [path for path in changed if path not in _SHARED and owner(path) is not entry]
    others = [other for other in PACKAGES if other is not entry]
    moved = [other.name for other in others if _state(other, tree, "HEAD") != _state(other, tree, base)]
    if foreign or moved:
        raise Refused(
            f"the release of {entry.distribution} would change {', '.join([*foreign, *moved])}",
            remedy="that is a fault of ci/release: nothing was kept",
        )


def _state(entry: Package, tree: Path, commit: str) -> tuple[str, str]:
    """Next version and tags, as far as one sees them from `commit`."""
    pyproject = git(tree, "show", f"{commit}:{entry.folder}/pyproject.toml")
    tags = git(tree, "tag", "--list", "--merged", commit, f"{entry.tag_prefix}*")
    return pyproject, tags
