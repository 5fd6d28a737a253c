"""A release asks for a green matrix of its own commit; and with whom it is tested."""

from __future__ import annotations

import json
import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from ci.matrix.cells import Cell, cells
from ci.matrix.declared import load
from ci.matrix.results import REPORT, Outcome, Status, result
from ci.matrix.sources import Source, Store, of_commit
from ci.packages import CANN_SIM, CORE, ROOT, package
from ci.release import pairs
from ci.release.__main__ import read_order
from ci.release.candidate import Candidate
from ci.release.cells import check_cells
from ci.release.refusal import Refused
from ci.tests import scratch
from ci.tests.releases import HERE, METADATA, make_wheel
from ci.versions import git

SPYRE, CPU_REF = package("spyre"), package("cpu_ref")


def report(folder: Path, statuses: dict[str, Status], left_out: str = "", **about: Any) -> Path:
    """A report of every cell but one; those not named in `statuses` pass."""
    rows = [
        asdict(result(cell, Outcome(status=statuses.get(cell.name, Status.PASSED)), seconds=1, versions={}, log=""))
        for cell in cells(load())
        if cell.name != left_out
    ]
    content = {
        "commit": git(ROOT, "rev-parse", "HEAD"),
        "changed": False,
        "asked": {"laws": [], "cells": None},
        "cells": rows,
    } | about
    (folder / REPORT).write_text(json.dumps(content))
    return folder


def first_cell(name: str) -> Cell:
    return next(cell for cell in cells(load()) if cell.package.name == name)


def test_green_cells_are_counted_and_unknown_ones_named(tmp_path: Path) -> None:
    unknown = first_cell("spyre").name
    told = check_cells(SPYRE, ROOT, report(tmp_path, {unknown: Status.NOT_RUNNABLE}), skip=False)
    assert told.endswith(f"not runnable where the report was made: {unknown}")
    assert int(told.split()[0]) == sum(cell.package == SPYRE for cell in cells(load())) - 1


@pytest.mark.parametrize("status", [Status.FAILED, Status.UNBUILT])
def test_a_cell_that_is_not_green_stops_its_package_and_core_but_no_other(tmp_path: Path, status: Status) -> None:
    cell = first_cell("spyre").name
    made = report(tmp_path, {cell: status})
    for entry in (SPYRE, CORE):
        with pytest.raises(Refused, match="cells of the matrix are not green") as refused:
            check_cells(entry, ROOT, made, skip=False)
        assert f"{cell}: {status.value}" in str(refused.value)
    assert "green" in check_cells(CPU_REF, ROOT, made, skip=False)


def test_nothing_passed_is_no_proof(tmp_path: Path) -> None:
    made = report(tmp_path, {cell.name: Status.NOT_RUNNABLE for cell in cells(load())})
    with pytest.raises(Refused, match="no cell of spyre passed"):
        check_cells(SPYRE, ROOT, made, skip=False)


def test_the_simulator_is_judged_by_the_cells_that_run_on_it(tmp_path: Path) -> None:
    eager = next(cell.name for cell in cells(load()) if CANN_SIM in cell.variant.beside)
    assert "green" in check_cells(
        CANN_SIM, ROOT, report(tmp_path, {first_cell("spyre").name: Status.FAILED}), skip=False
    )
    with pytest.raises(Refused, match="cells of the matrix are not green"):
        check_cells(CANN_SIM, ROOT, report(tmp_path, {eager: Status.FAILED}), skip=False)


@pytest.mark.parametrize(
    "about, told",
    [
        ({"commit": "0" * 40}, "is of commit 000"),
        ({"changed": True}, "with uncommitted changes"),
        ({"asked": {"laws": ["contract"], "cells": None}}, r"of a part of the kit only \(contract\)"),
    ],
)
def test_a_report_of_something_else_is_refused(tmp_path: Path, about: dict[str, Any], told: str) -> None:
    with pytest.raises(Refused, match=told):
        check_cells(SPYRE, ROOT, report(tmp_path, {}, **about), skip=False)


def test_a_report_without_a_cell_is_refused_by_its_name(tmp_path: Path) -> None:
    cell = first_cell("spyre").name
    with pytest.raises(Refused, match="the report lacks cells") as refused:
        check_cells(SPYRE, ROOT, report(tmp_path, {}, left_out=cell), skip=False)
    assert cell in str(refused.value)


def test_without_a_report_it_is_refused_and_skipping_is_said_loudly(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="nobody says whether the matrix is green"):
        check_cells(SPYRE, ROOT, tmp_path, skip=False)
    assert check_cells(SPYRE, ROOT, tmp_path, skip=True).startswith("NOT ASKED")


@pytest.mark.parametrize("option", ["--skip-cells", "--quick"])
def test_a_real_release_leaves_nothing_out(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_order(["cpu_ref", "--for-real", option])
    assert "a release is tested whole" in capsys.readouterr().err


def test_an_order_is_a_dry_run_unless_said() -> None:
    assert read_order(["cpu_ref", "minor"]).for_real is False
    assert read_order(["cpu_ref", "--for-real"]).for_real is True
    assert read_order(["cpu_ref"]).matrix_report == ROOT / ".nox" / "matrix" / "report"


def test_the_ends_of_a_range() -> None:
    assert pairs.ends(["0.1.0", "0.1.1", "0.2.0"]) == ["0.1.0", "0.2.0"]
    assert pairs.ends(["0.1.0"]) == ["0.1.0"]
    assert pairs.ends([]) == []


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A repository where core 0.0.9, 0.1.0, 0.1.1, 0.1.2 and 0.3.0 and cpu_ref 0.1.0 are released."""
    tree = scratch.make_repository(tmp_path_factory.mktemp("pairs") / "origin")
    for version in ("0.0.9", "0.1.0", "0.1.1", "0.1.2", "0.3.0"):
        scratch.commit(tree, version)
        git(tree, "tag", f"core-v{version}")
    git(tree, "tag", "cpu-ref-v0.1.0")
    scratch.commit(tree, "later")
    return Store(repository=tree, cache=tree.parent / "cache")


def head(store: Store) -> Source:
    return of_commit(git(store.repository, "rev-parse", "HEAD"))


def test_a_plugin_meets_the_oldest_and_the_newest_released_core_of_its_range(store: Store, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path)
    assert [each.name for each in pairs.cores_for(wheel, head(store), store, HERE, for_real=True)] == [
        "core 0.1.0",
        "core 0.1.2",
    ]


def test_a_plugin_that_no_released_core_fits_is_refused(store: Store, tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, metadata=METADATA.replace("<0.2.dev0,>=0.1.dev0", ">=7"))
    for for_real in (True, False):
        with pytest.raises(Refused, match=r"no released vllm-core is in the range >=7 .*0\.1\.2, 0\.3\.0\)"):
            pairs.cores_for(wheel, head(store), store, HERE, for_real=for_real)


def test_a_core_that_no_plugin_claims_is_refused(store: Store) -> None:
    with pytest.raises(Refused, match=r"no plugin claims vllm-core 0\.7\.0"):
        pairs.plugins_for(Version("0.7.0"), head(store), store, HERE)


def test_a_core_meets_the_newest_release_of_every_plugin_that_claims_it_and_the_one_beside_it(store: Store) -> None:
    base = head(store)
    found = [(entry.name, source.label) for entry, source in pairs.claimants(Version("0.1.3"), base, store)]
    beside = base.label
    assert found == [("cpu_ref", "0.1.0"), ("cpu_ref", beside), ("ascend", beside), ("spyre", beside)]


def test_partners_are_built_from_the_commit_that_is_released_and_not_from_a_tree_that_moved_on(
    store: Store, tmp_path: Path
) -> None:
    tree = scratch.clone(store.repository, tmp_path / "tree")
    made = Candidate(
        entry=CPU_REF, version=Version("0.1.1"), tree=tree, base=scratch.sha(tree), date="2030-01-02T03:04:05+00:00"
    )
    (tree / CORE.folder / "src" / "vllm" / "moved_on.py").touch()
    claims = tree / SPYRE.folder / "pyproject.toml"
    claims.write_text(claims.read_text().replace("vllm-core>=", "vllm-core>=9,>="))
    scratch.commit(tree, "moved on")
    here = Store(repository=tree, cache=tmp_path / "cache")
    assert (SPYRE, made.beside) in pairs.claimants(Version("0.1.3"), made.beside, here)
    unreleased = METADATA.replace("<0.2.dev0,>=0.1.dev0", "<0.1.0rc1,>=0.1.dev0")
    (core,) = pairs.cores_for(make_wheel(tmp_path, metadata=unreleased), made.beside, here, HERE, for_real=False)
    assert core.name == f"core 0.1.0.dev0+g{made.base[:9]}"
    with zipfile.ZipFile(core.wheel) as content:
        assert not [name for name in content.namelist() if "moved_on" in name]
