"""The workflows of `.github/`: valid, one for each session that runs by default, and each calls a session that there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from ci.matrix.results import LATEST
from ci.packages import PACKAGES, ROOT

FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
SHARED = "./.github/workflows/session.yml"


def read(path: Path) -> dict[Any, Any]:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(content, dict)
    return content


def called(path: Path) -> list[str]:
    """The sessions that a workflow calls, through the shared one or by `.ci/run -s`."""
    jobs = read(path)["jobs"].values()
    through = [job["with"]["session"] for job in jobs if job.get("uses") == SHARED]
    steps = [step.get("run", "") for job in jobs for step in job.get("steps", [])]
    return through + [name for step in steps for name in re.findall(r"\.ci/run -s (\w+)", step)]


@pytest.fixture(scope="module")
def sessions() -> dict[str, bool]:
    """Session → whether it runs by default; cells of the matrix count as the session that their name begins with."""
    command = [sys.executable, "-m", "nox", "--list", "--non-interactive", "--nocolor"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = re.findall(r"^([*-]) (\w+)", listed, re.MULTILINE)
    return {name: any(mark == "*" for mark, other in lines if other == name) for _, name in lines}


def test_every_workflow_is_one_by_githubs_schema() -> None:
    command = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.github-workflows",
        *map(str, WORKFLOWS),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_session_that_runs_by_default_has_a_workflow_of_its_name(sessions: dict[str, bool]) -> None:
    wanted = {name for name, default in sessions.items() if default}
    assert len(wanted) > 8
    assert {path.stem for path in WORKFLOWS if called(path) == [path.stem]} >= wanted


def test_no_workflow_calls_a_session_that_is_not_there(sessions: dict[str, bool]) -> None:
    assert {name for path in WORKFLOWS for name in called(path)} <= sessions.keys()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_may_only_read(path: Path) -> None:
    assert read(path)["permissions"] == {"contents": "read"}


def test_the_matrix_keeps_its_report_also_when_a_cell_fails() -> None:
    assert ROOT / read(FOLDER / "matrix.yml")["jobs"]["matrix"]["with"]["keep"] == LATEST
    upload = read(FOLDER / "session.yml")["jobs"]["nox"]["steps"][-1]
    assert upload["uses"].startswith("actions/upload-artifact@")
    assert "!cancelled()" in upload["if"]
    assert upload["with"]["path"] == "${{ inputs.keep }}"
    assert upload["with"]["include-hidden-files"], f"{LATEST} lies in a hidden folder, which would be passed over"


def test_the_release_offers_every_package() -> None:
    inputs = read(FOLDER / "release.yml")[True]["workflow_dispatch"]["inputs"]  # YAML reads the key `on` as true
    assert inputs["package"]["options"] == [entry.name for entry in PACKAGES]
