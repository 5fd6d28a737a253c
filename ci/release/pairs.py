"""Owns with whom a release is tested: a plugin with the oldest and the newest core that it claims, the core with the plugins
that claim it. Released cores and plugins count, the core of the commit that is released before core's first release, and the
plugins of that commit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from ci.environments import Environment
from ci.matrix.sources import Source, Store, releases
from ci.packages import CORE, PLUGINS, Package
from ci.release.compatibility import claimed_range
from ci.release.refusal import Refused
from ci.wheel_metadata import core_range, read_metadata

__all__ = ["Partner", "claimants", "cores_for", "ends", "plugins_for"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Partner:
    """The other wheel of a pair."""

    entry: Package
    source: Source
    wheel: Path

    @property
    def name(self) -> str:
        """As the ledger writes it: `core 0.1.0`; where it is not released `core 0.1.0.dev0+g1234567`."""
        return f"{self.entry.name} {read_metadata(self.wheel)['Version']}"


def fits(wanted: str, core: Version) -> bool:
    return SpecifierSet(wanted).contains(core, prereleases=True)


def ends(versions: Sequence[str]) -> list[str]:
    """The first and the last, or the only one."""
    return list(dict.fromkeys([*versions[:1], *versions[-1:]]))


def cores_for(wheel: Path, base: Source, store: Store, tools: Environment, *, for_real: bool) -> list[Partner]:
    """The oldest and the newest released core in the wheel's range; a dry run takes that of `base` where there is none.

    Raises:
        Refused: none is, so that nobody could install the wheel.
    """
    wanted = str(core_range(wheel) or "")
    released = {each.label: each for each in releases(CORE, store.repository)}
    chosen = [released[label] for label in ends([label for label in released if fits(wanted, Version(label))])]
    if not chosen and not for_real:
        chosen = [base]
    partners = [Partner(entry=CORE, source=each, wheel=store.wheel(CORE, each, tools)) for each in chosen]
    if not partners or not all(fits(wanted, _version(each)) for each in partners):
        known = ", ".join(released) or "none"
        raise Refused(
            f"no released {CORE.distribution} is in the range {wanted} of {wheel.name} (released: {known})",
            remedy="release the core first, or change the range in the plugin's `dependencies`",
        )
    return partners


def plugins_for(version: Version, base: Source, store: Store, tools: Environment) -> list[Partner]:
    """The plugins that claim this core, of their releases and of `base`.

    Raises:
        Refused: none does; a core that no plugin claims runs nowhere.
    """
    sources = claimants(version, base, store)
    if not sources:
        ranges = ", ".join(f"{entry.name} {_range_at(entry, base, store)}" for entry in PLUGINS)
        raise Refused(
            f"no plugin claims {CORE.distribution} {version} ({ranges})",
            remedy="widen the ranges of the plugins that work with it",
        )
    return [Partner(entry=entry, source=source, wheel=store.wheel(entry, source, tools)) for entry, source in sources]


def claimants(version: Version, base: Source, store: Store) -> list[tuple[Package, Source]]:
    """Of every plugin the newest release that claims this core, and the one of `base` where that does."""
    return [(entry, source) for entry in PLUGINS for source in _claiming(entry, version, base, store)]


def _claiming(entry: Package, version: Version, base: Source, store: Store) -> Iterable[Source]:
    claiming = [each for each in releases(entry, store.repository) if fits(_range_at(entry, each, store), version)]
    yield from claiming[-1:]
    if fits(_range_at(entry, base, store), version):
        yield base


def _range_at(entry: Package, source: Source, store: Store) -> str:
    return claimed_range(entry, store.tree(source))


def _version(partner: Partner) -> Version:
    return Version(str(read_metadata(partner.wheel)["Version"]))
