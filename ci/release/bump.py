"""Owns which version comes next: what the changelog fragments ask for, and what the release manager wishes.

The rule is that of docs/compatibility.md: what breaks a user (breaking, removed) raises the minor version, from 1.0 on the
major one; everything else raises the patch version. The committed next version is never gone below.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from packaging.version import InvalidVersion, Version

from ci.packages import Package
from ci.release.refusal import Refused

__all__ = ["WORDS", "asked_for", "choose", "following", "fragments", "kinds_of"]

WORDS = ("major", "minor", "patch")
KINDS = frozenset({"breaking", "added", "changed", "fixed", "removed"})
_BREAKING = frozenset({"breaking", "removed"})


def fragments(entry: Package, tree: Path) -> list[Path]:
    """The package's changelog fragments since its last release."""
    return sorted((tree / entry.folder / "changelog.d").glob("*.md"))


def kinds_of(paths: Iterable[Path]) -> set[str]:
    """`3.added.md` → `added`; refuses a name that towncrier would pass over in silence."""
    kinds = {path: path.name.split(".")[1] if path.name.count(".") >= 2 else "" for path in paths}
    for path, kind in kinds.items():
        if kind not in KINDS:
            known = "|".join(sorted(KINDS))
            raise Refused(
                f"the changelog fragment {path.name} has no known kind", remedy=f"name it <issue>.<{known}>.md"
            )
    return set(kinds.values())


def following(released: Version, word: str) -> Version:
    """The version that a word names: `minor` after 0.1.3 is 0.2.0."""
    major, minor = released.major, released.minor
    steps = {"major": (major + 1, 0, 0), "minor": (major, minor + 1, 0), "patch": (major, minor, released.micro + 1)}
    return Version(".".join(map(str, steps[word])))


def asked_for(released: Version, kinds: Collection[str]) -> Version:
    """The lowest version that fragments of these kinds permit after `released`."""
    breaks = not _BREAKING.isdisjoint(kinds)
    return following(released, "patch" if not breaks else "major" if released.major else "minor")


def choose(wish: str | None, *, released: Version | None, coming: Version, kinds: Collection[str]) -> Version:
    """The version to release. `coming` is the committed next version, `released` the last release.

    Raises:
        Refused: nothing to release, or a wish that is no version, too low, or made already.
    """
    if not kinds and wish is None:
        raise Refused("no changelog fragment says what this release changes", remedy="add one, or give the version")
    committed = Version(coming.base_version)
    lowest = committed if released is None else max(committed, asked_for(released, kinds))
    chosen = lowest if wish is None else _wished(wish, released)
    if Version(chosen.base_version) < lowest or (released is not None and chosen <= released):
        after = f"after {released}, with fragments of the kinds {', '.join(sorted(kinds)) or 'none'}"
        why = after if released is not None else "which is the committed next version"
        raise Refused(
            f"{chosen} is too low: the lowest version that fits is {lowest}, {why}", remedy=f"release {lowest}"
        )
    return chosen


def _wished(wish: str, released: Version | None) -> Version:
    if wish in WORDS:
        if released is None:
            raise Refused(f"there is no release yet, so {wish!r} means nothing", remedy="give the version, or none")
        return following(released, wish)
    try:
        version = Version(wish)
    except InvalidVersion as error:
        raise Refused(f"{wish!r} is no version", remedy=f"give one like 0.2.0, or {', '.join(WORDS)}") from error
    if version.local or version.is_devrelease:
        raise Refused(f"{version} is a development version", remedy=f"release {version.base_version}")
    if len(version.release) != 3 or version.epoch or version.is_postrelease:
        fitting = f"{version.major}.{version.minor}.{version.micro}"
        raise Refused(f"{version} is not of the form X.Y.Z or X.Y.ZrcN", remedy=f"release {fitting}")
    return version
