"""The command behind `nox -s rehearsal`: makes the scene and proves, step by step, what the matrix and the release promise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ci import recipes
from ci.environments import Environment, clean_environ
from ci.matrix.results import REPORT, read_results
from ci.matrix.sources import HERE, at
from ci.packages import CORE, ROOT
from ci.processes import heed_termination
from ci.rehearsal.expected import differences
from ci.rehearsal.scene import TOY, Scene, make_scene
from ci.release.alone import clean_environment
from ci.release.publish import CHECKSUMS
from ci.versions import git

__all__ = ["main"]

WORK = ROOT / ".nox" / "rehearsal"
_SHARED = ("bases", "tools", "matrix/stacks")
"""Environments that hold nothing of ours, so that the scene may use those of the repository."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Said:
    """What a command of the scene printed, and how it ended."""

    code: int
    text: str


def main() -> int:
    """0 where every step shows what it must; the first that does not ends with its output."""
    heed_termination()
    tools = recipes.tools()
    scene = _scene(tools)
    report = WORK / "report"
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("the table is the expected one", lambda: _matrix(scene, tools, report)),
        ("bisect finds the commit that breaks toy", lambda: _bisect(scene, tools)),
        ("a core that breaks a released plugin is not released", lambda: _core_is_refused(scene, tools, report)),
        ("toy is released, and nothing else changes", lambda: _release(scene, tools, report)),
        ("a release without a change is refused", lambda: _nothing_to_release(scene, tools)),
    )
    for name, step in steps:
        print(f"\n##### {name}", flush=True)
        step()
        print(f"##### shown: {name}", flush=True)
    return 0


def _scene(tools: Environment) -> Scene:
    """The clone, with toy written by the command of an installed core."""
    wheel = HERE.wheel(CORE, at(CORE, "HEAD"), tools)
    environment = clean_environment(WORK / "scaffolding", [wheel])

    def scaffold(folder: Path) -> None:
        _run([environment.script("vllm"), "plugin", "new", "toy", "--dest", folder], WORK)

    scene = make_scene(WORK / "scene", scaffold)
    for name in _SHARED:
        (ROOT / ".nox" / name).mkdir(parents=True, exist_ok=True)
        (scene.tree / ".nox" / name).parent.mkdir(parents=True, exist_ok=True)
        (scene.tree / ".nox" / name).symlink_to(ROOT / ".nox" / name)
    return scene


def _run(command: list[str | Path], folder: Path) -> Said:
    """Run and print; the output is kept."""
    print("$", *command, flush=True)
    said: list[str] = []
    with subprocess.Popen(
        list(map(str, command)),
        cwd=folder,
        env=clean_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            said.append(line)
    return Said(code=process.returncode, text="".join(said))


def _demand(holds: bool, what: str) -> None:
    if not holds:
        raise SystemExit(f"the rehearsal fails: {what}")


def _matrix(scene: Scene, tools: Environment, report: Path) -> None:
    said = _run([tools.python, "-m", "ci.matrix", "run", "--report", report], scene.tree)
    found = list(differences(read_results(report / REPORT)))
    _demand(not found, "\n  ".join(["the table differs:", *found]))
    _demand(said.code == 1, f"the matrix ended with {said.code}, though cells fail")


def _bisect(scene: Scene, tools: Environment) -> None:
    cell = "plugin(toy 0.1.0, core=tree, py=3.11)"
    said = _run([tools.python, "-m", "ci.matrix", "bisect", cell, "core-v0.2.0", "core-v0.3.0"], scene.tree)
    _demand(scene.breaking[:7] in said.text, f"bisect does not name {scene.breaking}")
    _demand(not git(scene.tree, "status", "--porcelain"), "bisect touched the working tree")


def _core_is_refused(scene: Scene, tools: Environment, report: Path) -> None:
    said = _run([tools.python, "-m", "ci.release", "core", "--matrix-report", report], scene.tree)
    _demand(
        said.code == 1 and "plugin(toy 0.1.0, core=tree, py=3.11): fail" in said.text,
        "core was not refused for toy 0.1.0",
    )


def _release(scene: Scene, tools: Environment, report: Path) -> None:
    before, tags = git(scene.tree, "rev-parse", "HEAD"), set(git(scene.tree, "tag").split())
    said = _run([tools.python, "-m", "ci.release", "toy", "--for-real", "--matrix-report", report], scene.tree)
    _demand(said.code == 0, "toy could not be released")
    _demand(set(git(scene.tree, "tag").split()) - tags == {"toy-v0.1.2"}, "other tags than toy-v0.1.2 are new")
    changed = git(scene.tree, "diff", "--name-only", before, "HEAD").splitlines()
    shared = {"ci/releases.toml", "docs/compatibility.md"}
    foreign = [path for path in changed if path not in shared and not path.startswith(f"{TOY}/")]
    _demand(not foreign and shared <= set(changed), f"changed: {changed}")
    page = (scene.tree / "docs" / "compatibility.md").read_text()
    _demand("| 0.1.2, wants `>=0.2.dev0,<0.4.dev0` |" in page, "the table does not have toy 0.1.2")
    dist = scene.tree / "dist" / "toy"
    sums = _run(["sha256sum", "--check", CHECKSUMS], dist)
    _demand(sums.code == 0 and sums.text.count(": OK") == 3, "the checksums of sdist, wheel and bill do not hold")


def _nothing_to_release(scene: Scene, tools: Environment) -> None:
    said = _run([tools.python, "-m", "ci.release", "toy", "--skip-cells"], scene.tree)
    _demand(said.code == 1 and "no changelog fragment" in said.text, "a release without a change was not refused")


if __name__ == "__main__":
    sys.exit(main())
