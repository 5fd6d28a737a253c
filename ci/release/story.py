"""Owns the order of a release's steps. Everything happens in a clone; the repository changes in the last step, or never."""

from __future__ import annotations

import datetime as dt
import shlex
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from ci.environments import Environment
from ci.matrix.results import LATEST
from ci.matrix.sources import Store
from ci.packages import CANN_SIM, CORE, PLUGINS, Package
from ci.recipes import MAIN_PYTHON
from ci.release import bump, proof
from ci.release.apart import check_apart
from ci.release.archives import Archives, build_archives, require_equal
from ci.release.candidate import Candidate, announce_next, make_candidate, record
from ci.release.cells import check_cells
from ci.release.clone import check_clone
from ci.release.ledger import Release
from ci.release.materials import write_bill
from ci.release.metadata import check_metadata
from ci.release.native import check_machine_code
from ci.release.pairs import Partner, cores_for, plugins_for
from ci.release.publish import adopt, lay_out
from ci.release.refusal import Refused
from ci.versions import next_version, released_versions
from ci.wheel_metadata import core_range

__all__ = ["Order", "Shop", "release"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """What the release manager asked for."""

    entry: Package
    wish: str | None = None
    for_real: bool = False
    quick: bool = False
    skip_cells: bool = False
    matrix_report: Path = LATEST


@dataclass(frozen=True, kw_only=True, slots=True)
class Shop:
    """Where a release is made: the repository, its store of wheels, the tools, and a folder to work in."""

    repository: Path
    store: Store
    tools: Environment
    work: Path


def release(order: Order, shop: Shop) -> Path:
    """Make the release; gives the folder of what would be uploaded. Raises `Refused` where it may not be made."""
    entry = order.entry
    say("clone", "clean and complete?")
    check_clone(shop.repository, for_real=order.for_real)
    say("cells", check_cells(order.entry, shop.repository, order.matrix_report, skip=order.skip_cells))
    version = choose_version(order, shop.repository)
    say("version", f"{entry.distribution} {version}")
    made = make_candidate(entry, version, shop.repository, shop.work / "tree", date=_now(), tools=shop.tools)
    archives = build_archives(entry, made.tree, shop.work / "built", shop.tools)
    say("built", f"{archives.sdist.name}; from it {archives.wheel.name}, equal to the wheel of the tree")
    check_metadata(entry, version, archives, (made.tree / "LICENSE").read_text(), shop.tools)
    say("metadata", f"name, version, licence, contents; {check_machine_code(entry, archives.wheel, shop.tools)}")
    environment, partners = prove(order, made, archives, shop)
    bill = write_bill(entry, version, environment, shop.tools, shop.work)
    record(made, _entry_of_ledger(made, archives, partners, environment, shop.work / "home"))
    archives = _build_from_tag(made, archives, shop)
    coming = announce_next(made)
    check_apart(entry, made.tree, made.base)
    say("apart", f"no other package's file, version or tag changes; the next version will be {coming}")
    folder = lay_out(entry, [*archives.paths, bill], shop.repository)
    _end(order, made, folder, shop.repository)
    return folder


def say(step: str, what: str) -> None:
    print(f"\n=== {step}: {what}", flush=True)


def _now() -> str:
    return dt.datetime.now(dt.timezone.utc).isoformat(timespec="seconds")


def choose_version(order: Order, tree: Path) -> Version:
    """From the fragments and the wish, beyond the last release of this branch; none that has a tag on any branch."""
    kinds = bump.kinds_of(bump.fragments(order.entry, tree))
    made = released_versions(order.entry, tree, merged=True)
    released = [each for each in made if not each.is_prerelease]
    coming = next_version(order.entry, tree)
    chosen = bump.choose(order.wish, released=released[-1] if released else None, coming=coming, kinds=kinds)
    if chosen in released_versions(order.entry, tree):
        tag = f"{order.entry.tag_prefix}{chosen}"
        raise Refused(f"{chosen} is released already: {tag} is a tag of this repository", remedy="give a later version")
    if made and chosen < made[-1]:
        raise Refused(f"{chosen} is older than {made[-1]}, which is released", remedy="give a later version")
    return chosen


def prove(order: Order, made: Candidate, archives: Archives, shop: Shop) -> tuple[Environment, Sequence[Partner]]:
    """Install and run the wheel alone, and keep the laws with each partner; the clean environment, and the partners."""
    entry, home = made.entry, shop.work / "home"
    partners = _partners(order, made, archives.wheel, shop)
    if not partners and entry in PLUGINS:
        raise AssertionError(f"{entry.name} has nobody to be tested with")
    shutil.rmtree(home, ignore_errors=True)
    with_core = [each.wheel for each in partners[-1:]] if entry in PLUGINS else []
    environment = _environment(made, shop, "alone", entry, [archives.wheel, *with_core])
    proof.run_alone(environment, entry, home)
    say("alone", f"{archives.wheel.name} runs in a clean environment")
    for partner in partners:
        _keep_the_laws(order, made, archives.wheel, partner, shop)
    return environment, partners


def _partners(order: Order, made: Candidate, wheel: Path, shop: Shop) -> Sequence[Partner]:
    if order.entry is CORE:
        return plugins_for(made.version, made.beside, shop.store, shop.tools)
    if order.entry in PLUGINS:
        return cores_for(wheel, made.beside, shop.store, shop.tools, for_real=order.for_real)
    return ()


def _environment(made: Candidate, shop: Shop, name: str, entry: Package, wheels: Sequence[Path]) -> Environment:
    simulators = [shop.store.wheel(CANN_SIM, made.beside, shop.tools)] if proof.needs_simulator(entry) else []
    return proof.environment_for(shop.work / name, entry, [*wheels, *simulators])


def _keep_the_laws(order: Order, made: Candidate, wheel: Path, partner: Partner, shop: Shop) -> None:
    plugin = partner.entry if made.entry is CORE else made.entry
    label = partner.name.replace(" ", "-")
    say("laws", f"{plugin.name}: {made.title} with {partner.name}")
    environment = _environment(made, shop, f"with-{label}", plugin, [wheel, partner.wheel])
    proof.keep_the_laws(environment, plugin, shop.work / "home", shop.work / f"laws-{label}", quick=order.quick)


def _entry_of_ledger(
    made: Candidate, archives: Archives, partners: Sequence[Partner], environment: Environment, home: Path
) -> Release:
    found = proof.versions_of(environment, home, "torch", "transformers")
    return Release(
        package=made.entry.name,
        version=str(made.version),
        date=made.date[:10],
        python=MAIN_PYTHON,
        torch=found["torch"],
        transformers=found["transformers"],
        wants=str(core_range(archives.wheel) or ""),
        tested_with=tuple(each.name for each in partners),
    )


def _build_from_tag(made: Candidate, tested: Archives, shop: Shop) -> Archives:
    """What is uploaded is what the tag gives: the wheel that was tested, and the same bytes each time.

    An sdist names its commit, which has the record of the tests now, so that only here it is what it will be.
    """
    archives, again = (
        build_archives(made.entry, made.tree, shop.work / name, shop.tools) for name in ("dist", "again")
    )
    require_equal("the wheel that was tested", tested.wheel, f"the wheel that {made.tag} gives", archives.wheel)
    require_equal(f"the sdist that {made.tag} gives", archives.sdist, "what it gives the second time", again.sdist)
    say("reproduced", f"built twice from {made.tag}: the same bytes, and the wheel that was tested")
    return archives


def _end(order: Order, made: Candidate, folder: Path, repository: Path) -> None:
    if order.for_real:
        adopt(made, repository)
        kept = shlex.quote(str(folder))
        push = f"git push --atomic origin HEAD {made.tag} && twine upload {kept}/*.whl {kept}/*.tar.gz"
        say("released", f"{made.tag} stands here. Nothing was uploaded. Yours to do: {push}")
    else:
        say("dry run", f"nothing changed here but {folder}; `--for-real` makes the commits and the tag {made.tag}")
