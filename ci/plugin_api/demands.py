"""What a change of the interface asks of the one who makes it: the next version of core, and changelog fragments."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from ci.packages import CORE
from ci.plugin_api.compare import Change
from ci.versions import next_version, released_versions

__all__ = ["State", "advice", "demands", "read_state", "wanted_version"]

_FRAGMENTS = f"{CORE.folder}/changelog.d"
_ADDITIVE_KINDS = ("added", "changed", "breaking")


@dataclass(frozen=True, kw_only=True, slots=True)
class State:
    """Where core stands between two releases."""

    released: Version | None
    """The last release; None before the first."""
    coming: Version
    """The committed next version."""
    fragments: tuple[str, ...]
    """File names of the changelog fragments since the last release, e.g. `3.breaking.md`."""


def read_state(tree: Path) -> State:
    """The state of the repository at `tree`."""
    released = released_versions(CORE, tree)
    names = sorted(path.name for path in (tree / _FRAGMENTS).glob("*.md"))
    return State(released=released[-1] if released else None, coming=next_version(CORE, tree), fragments=tuple(names))


def wanted_version(released: Version, changes: Iterable[Change]) -> Version:
    """The lowest next version that fits: a breaking change raises the minor version (from 1.0 on the major one)."""
    major, minor, patch = released.release
    if not any(change.is_breaking for change in changes):
        return Version(f"{major}.{minor}.{patch + 1}")
    return Version(f"{major + 1}.0.0" if major else f"0.{minor + 1}.0")


def demands(changes: Sequence[Change], state: State) -> list[str]:
    """What is still to be done before these changes may stand; nothing before core's first release."""
    if not changes or state.released is None:
        return []
    return [*_version_demand(changes, state.released, state.coming), *_fragment_demand(changes, state.fragments)]


def _version_demand(changes: Sequence[Change], released: Version, coming: Version) -> Iterator[str]:
    wanted = wanted_version(released, changes)
    if Version(coming.base_version) < wanted:
        yield (
            f"raise core's next version from {coming} to {wanted}.dev0: `fallback_version` in {CORE.folder}/pyproject.toml "
            f"({released} is released), and the plugins' ranges `vllm-core>=…,<…` with it"
        )


def _fragment_demand(changes: Sequence[Change], fragments: Iterable[str]) -> Iterator[str]:
    kinds = {name.split(".")[1] for name in fragments if name.count(".") >= 2}
    if any(change.is_breaking for change in changes):
        if "breaking" not in kinds:
            yield f"say in one sentence what breaks and what to write instead: {_FRAGMENTS}/<issue>.breaking.md"
    elif not kinds & set(_ADDITIVE_KINDS):
        yield f"say in one sentence what is new: {_FRAGMENTS}/<issue>.added.md"


def advice(changes: Sequence[Change], state: State) -> str | None:
    """Why nothing is owed before core's first release, and what would be after it; None where that is no question."""
    if not changes or state.released is not None:
        return None
    first = Version(state.coming.base_version)
    kind = "breaking" if any(change.is_breaking for change in changes) else "added"
    return (
        f"no release of core is tagged here, so {state.coming} stays and nothing is owed. After core-v{first} this would ask for "
        f"version {wanted_version(first, changes)}.dev0 and for {_FRAGMENTS}/<issue>.{kind}.md"
    )
