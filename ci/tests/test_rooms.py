"""The rooms contract: places, climbing imports, wings, and import-linter running it on a real package."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ci.packages import ROOT
from ci.rooms import Layers

LAYERS = Layers(["app app.front", "app.worker", "app.engine | app.models", "app.worker.base", "app.errors"])


@pytest.mark.parametrize(
    "module, room",
    [
        ("app.worker", "app.worker"),
        ("app.worker.torch", "app.worker"),
        ("app.worker.base", "app.worker.base"),
        ("app.worker.base.inner", "app.worker.base"),
        ("app.workers", None),
        ("app", "app"),
        ("app.new", None),
        ("other.engine", None),
    ],
)
def test_the_longest_listed_name_decides(module: str, room: str | None) -> None:
    assert LAYERS.room(module) == room


@pytest.mark.parametrize(
    "importer, imported, reason",
    [
        ("app.front", "app.worker.torch", None),
        ("app.worker.torch", "app.front", "app.front lies above app.worker"),
        ("app.worker.torch", "app.worker.base", None),
        ("app.worker.base", "app.worker.torch", "app.worker lies above app.worker.base"),
        ("app.engine.core", "app.engine.requests", None),
        ("app.engine.core", "app.models.llama", "app.models and app.engine are apart"),
        ("app.engine", "app.errors", None),
        ("app.errors", "app", None),
        ("app.engine", "numpy", None),
    ],
)
def test_imports_go_downwards_and_wings_stay_apart(importer: str, imported: str, reason: str | None) -> None:
    violation = LAYERS.violation(importer, imported)
    assert (violation and violation.reason) == reason


def test_a_new_room_must_be_placed_and_a_vanished_one_removed() -> None:
    modules = ["app", "app.front", "app.worker", "app.engine", "app.worker.base", "app.errors", "app.cellar.deep"]
    assert LAYERS.unplaced(modules) == ["app.cellar.deep"]
    assert LAYERS.unknown(modules) == ["app.models"]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    """Run import-linter's own command in `folder`."""
    code = "import sys; from importlinter.cli import lint_imports_command as run; sys.exit(run())"
    environ = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)])}
    command = [sys.executable, "-c", code, "--no-logo", "--no-cache"]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=False)


def make_app(folder: Path, exceptions: str = "") -> None:
    """A package of two rooms, `app.engine` above `app.errors`, and its contract."""
    (folder / "app").mkdir()
    for name, text in {"__init__": "", "engine": "from app import errors", "errors": ""}.items():
        (folder / "app" / f"{name}.py").write_text(text)
    (folder / ".importlinter").write_text(
        "[importlinter]\nroot_package = app\ncontract_types =\n    rooms: ci.rooms.RoomsContract\n"
        "[importlinter:contract:rooms]\nname = Rooms\ntype = rooms\nroot = app\n"
        "layers =\n    app\n    app.engine\n    app.errors\n"
        + (f"ignore_imports =\n    {exceptions}\n" if exceptions else "")
    )


def test_import_linter_keeps_and_breaks_the_contract(tmp_path: Path) -> None:
    make_app(tmp_path)
    kept = lint(tmp_path)
    assert kept.returncode == 0, kept.stdout
    (tmp_path / "app" / "errors.py").write_text("def late():\n    from app import engine\n")
    (tmp_path / "app" / "attic.py").write_text("")
    broken = lint(tmp_path)
    assert broken.returncode == 1
    assert "app.errors imports app.engine: app.engine lies above app.errors" in broken.stdout
    assert "app.attic stands in no layer" in broken.stdout


def test_an_exception_is_granted_by_name_and_must_be_needed(tmp_path: Path) -> None:
    make_app(tmp_path, exceptions="app.errors -> app.engine")
    (tmp_path / "app" / "errors.py").write_text("import app.engine")
    assert lint(tmp_path).returncode == 0
    (tmp_path / "app" / "errors.py").write_text("")
    unneeded = lint(tmp_path)
    assert unneeded.returncode == 1
    assert "app.errors -> app.engine" in unneeded.stdout
