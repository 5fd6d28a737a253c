"""A wheel holds what is in `src` now: what an earlier build in the same tree left behind does not come back."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from ci.packages import PACKAGES, Package
from ci.tests import scratch


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scratch.make_repository(tmp_path_factory.mktemp("stale") / "tree")


def modules(folder: Path, out: Path) -> set[str]:
    with zipfile.ZipFile(scratch.wheel(folder, out)) as wheel:
        return {name for name in wheel.namelist() if name.endswith(".py")}


@pytest.mark.parametrize("entry", PACKAGES, ids=lambda entry: entry.name)
def test_a_deleted_module_is_not_in_the_next_wheel(tree: Path, tmp_path: Path, entry: Package) -> None:
    folder = tree / entry.folder
    name = f"{entry.import_name}/soon_deleted.py"
    module = folder / "src" / name
    module.write_text('"""Soon deleted."""\n')
    first = modules(folder, tmp_path / "first")
    assert name in first
    module.unlink()
    assert modules(folder, tmp_path / "second") == first - {name}
    assert not (folder / "build").exists()
