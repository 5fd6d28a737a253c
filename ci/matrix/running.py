"""Runs a cell: wheels, environment, steps, and what they say about it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CalledProcessError

from ci.environments import Environment, clean_environ
from ci.matrix.cells import Cell
from ci.matrix.declared import Declared
from ci.matrix.locks import locked
from ci.matrix.machine import Machine
from ci.matrix.places import NotInstallable, Place, make_place, remove_place, slug, wheel_version
from ci.matrix.results import Broken, Outcome, Result, Status, result
from ci.matrix.sources import TREE, BuildFailed, Source, Store, UnknownSource
from ci.matrix.verdicts import last_words, of_kit, of_listing, of_refusal, of_step, of_tests
from ci.packages import CORE, Package
from ci.processes import Ending, run_limited
from ci.recipes import ONE_THREAD
from ci.wheel_metadata import core_range

__all__ = ["Site", "run_cell", "run_cell_once"]

_LISTING_LIMIT_S = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """What the cells of a run share. `logs`: where each leaves a log, and its kit's report."""

    declared: Declared
    store: Store
    tools: Environment
    logs: Path
    machine: Machine = field(default_factory=Machine)
    laws: tuple[str, ...] = ()
    """Of the kit only these, instead of what the variants say."""
    wheels: dict[tuple[Package, Source], Path] = field(default_factory=dict)

    def wheel(self, entry: Package, source: Source) -> Path:
        """Built once in a run, the tree's too."""
        key = (entry, source)
        if key not in self.wheels:
            self.wheels[key] = self.store.wheel(entry, source, self.tools)
        return self.wheels[key]


@dataclass(kw_only=True, slots=True)
class _Watch:
    started_s: float = field(default_factory=time.monotonic)
    prepared_s: float = 0.0

    def seconds(self) -> float:
        return time.monotonic() - self.started_s


def run_cell(cell: Cell, site: Site) -> Result:
    """The cell's row; never raises for what a combination may do."""
    watch = _Watch()
    log = site.logs / f"{slug(cell.name)}.txt"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.unlink(missing_ok=True)
    wheels: dict[Package, Path] = {}
    missing = site.machine.lacks(cell)
    if missing:
        outcome = Outcome(status=Status.NOT_RUNNABLE, why=missing)
    else:
        try:
            wheels = _wheels(cell, site)
            with locked(site.store.cache / "cells" / slug(cell.name)):
                outcome = _tried(cell, wheels, site, log, watch)
        except (BuildFailed, UnknownSource, NotInstallable, CalledProcessError) as error:
            said = _said(error)
            log.write_text(f"{said}\n", encoding="utf-8")
            outcome = Outcome(status=Status.UNBUILT, why=said.splitlines()[-1])
    return result(
        cell,
        outcome,
        seconds=watch.seconds(),
        prepared_s=watch.prepared_s,
        versions={entry.distribution: wheel_version(wheel) for entry, wheel in wheels.items()},
        log=f"{site.logs.name}/{log.name}" if log.is_file() else "",
    )


def run_cell_once(cell: Cell, site: Site) -> Result:
    """As `run_cell`, of a cell that nobody will run again: its environment goes, its log stays; so too where the run is ended."""
    try:
        return run_cell(cell, site)
    finally:
        with locked(site.store.cache / "cells" / slug(cell.name)):
            remove_place(cell, site.store.cache)


def _said(error: Exception) -> str:
    """The error, and what a command that failed said on its standard error, where somebody listened."""
    heard = error.stderr if isinstance(error, CalledProcessError) else None
    return f"{error}\n{heard or ''}".strip()


def _wheels(cell: Cell, site: Site) -> dict[Package, Path]:
    """Core's, the package's, and the tree's of what the variant wants beside them."""
    wheels = {CORE: site.wheel(CORE, cell.core)}
    if not cell.is_core:
        wheels[cell.package] = site.wheel(cell.package, cell.release)
    return wheels | {entry: site.wheel(entry, TREE) for entry in cell.variant.beside}


def _tried(cell: Cell, wheels: dict[Package, Path], site: Site, log: Path, watch: _Watch) -> Outcome:
    wanted = None if cell.is_core else core_range(wheels[cell.package])
    core_version = wheel_version(wheels[CORE])
    refused = wanted is not None and not wanted.contains(core_version, prereleases=True)
    place = make_place(cell, list(wheels.values()), site.declared, site.store.cache, refused=refused)
    watch.prepared_s = watch.seconds()
    steps = _Steps(cell=cell, site=site, place=place, log=log)
    if refused and wanted is not None:
        return of_refusal(steps.listing()[1], cell.package.name, wanted, core_version)
    return steps.run()


@dataclass(frozen=True, kw_only=True, slots=True)
class _Steps:
    """The commands of one cell in its place."""

    cell: Cell
    site: Site
    place: Place
    log: Path

    def run(self) -> Outcome:
        """All steps in order, until one does not pass; counts are summed up."""
        counts: dict[str, int] = {}
        deadline_s = time.monotonic() + self.cell.variant.limit_s
        for outcome in self._each(deadline_s):
            counts = {
                key: counts.get(key, 0) + (outcome.counts or {}).get(key, 0)
                for key in {**counts, **(outcome.counts or {})}
            }
            if outcome.status is not Status.PASSED:
                return Outcome(status=outcome.status, why=outcome.why, broken=outcome.broken, counts=counts)
        if not counts:
            nothing = Broken(law="nothing ran", why="the cell's steps checked no law, no test and no plugin")
            return Outcome(status=Status.FAILED, why=nothing.why, broken=(nothing,))
        return Outcome(status=Status.PASSED, counts=counts)

    def _each(self, deadline_s: float) -> Iterator[Outcome]:
        variant, cell = self.cell.variant, self.cell
        for command in variant.first:
            ending = self._command(list(command), deadline_s)
            yield of_step(" ".join(command), ending, last_words(self.log))
        if not variant.torch and not cell.is_core:
            ending, text = self.listing()
            yield of_listing(ending, text, cell.package.name)
        if variant.kit is not None:
            report = self.site.logs / slug(cell.name)
            shutil.rmtree(report, ignore_errors=True)
            ending = self._command([*variant.under, *self._kit(report)], deadline_s)
            yield of_kit(ending, report / "report.json", last_words(self.log))
        if variant.tests:
            junit = self.place.folder / "junit.xml"
            ending = self._command([*variant.under, *self._pytest(junit)], deadline_s)
            yield of_tests(ending, junit, last_words(self.log))

    def listing(self) -> tuple[Ending, str]:
        """`vllm plugin list`, which asks every installed plugin, and what it says."""
        ending = self._command(["vllm", "plugin", "list"], time.monotonic() + _LISTING_LIMIT_S)
        return ending, self.log.read_text(encoding="utf-8", errors="replace")

    def _kit(self, report: Path) -> list[str]:
        chosen = [word for law in self.site.laws for word in ("--law", law)]
        options = [*_without_laws(self.cell.variant.kit or ()), *chosen] if chosen else [*(self.cell.variant.kit or ())]
        return ["vllm", "plugin", "test", self.cell.package.name, "--report", str(report.resolve()), *options]

    def _pytest(self, junit: Path) -> list[str]:
        folder = self.site.store.folder(self.cell.package, self.cell.release)
        tests = [str(folder / each) for each in self.cell.variant.tests]
        return ["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junitxml={junit}", *tests]

    def _command(self, command: list[str], deadline_s: float) -> Ending:
        """Run in the root of the package's state of the repository, where pytest finds its settings and shared helpers."""
        program = self.place.scripts / command[0]
        return run_limited(
            [str(program), *command[1:]],
            folder=self.site.store.tree(self.cell.release),
            env=self._environ(),
            log=self.log,
            limit_s=max(0.0, deadline_s - time.monotonic()),
        )

    def _environ(self) -> dict[str, str]:
        """Nothing of the caller's choices for vLLM, a cache of the cell's own, and what the variant sets."""
        kept = {key: value for key, value in clean_environ().items() if not key.startswith(("VLLM_", "CANN_SIM_"))}
        return {
            **kept,
            **ONE_THREAD,
            "PATH": f"{self.place.scripts}:{kept.get('PATH', '')}",
            "VLLM_CACHE_ROOT": str(self.place.folder / "cache"),
            **dict(self.cell.variant.environment),
        }


def _without_laws(options: tuple[str, ...]) -> list[str]:
    """The kit's options without `--law NAME`."""
    return [
        word
        for number, word in enumerate(options)
        if word != "--law" and (number == 0 or options[number - 1] != "--law")
    ]
