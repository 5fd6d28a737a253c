"""A repository of two tiny packages in the places of core and spyre: real wheels, built in a second, that behave as they are told.

Its `vllm` command answers `plugin list` and `plugin test` in the real ones' words, according to `vllm_spyre.BEHAVIOUR`.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ci.matrix.declared import Declared, load
from ci.packages import CORE, package
from ci.tests import scratch
from ci.versions import git

__all__ = ["HERE", "SPYRE", "declared", "make_tiny", "write_core", "write_plugin"]

HERE = "{}.{}".format(*sys.version_info[:2])
SPYRE = package("spyre")

_PROJECT = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"
[project]
name = "{name}"
version = "{version}"
dependencies = [{dependencies}]
{more}
[tool.setuptools.packages.find]
where = ["src"]
"""

_COMMAND = """
import json, sys, time
from importlib import metadata
from pathlib import Path


def main():
    return {"list": listed, "test": tested}[sys.argv[2]]()


def listed():
    (wanted,) = metadata.requires("vllm-plugin-spyre")
    wanted, mine = wanted.removeprefix("vllm-core"), metadata.version("vllm-core")
    fits = mine.split(".") < wanted.partition("<")[2].partition(",")[0].split(".")
    print(f"  spyre  vllm-plugin-spyre  {'not usable' if fits else 'refused'}")
    if not fits and REFUSES:
        print(f"      The plugin spyre (vllm-plugin-spyre) wants vllm-core {wanted}, but vllm-core {mine} is installed.")


def tested():
    from vllm_spyre import BEHAVIOUR

    if BEHAVIOUR == "hang":
        print("it began", flush=True)
        time.sleep(600)
    if BEHAVIOUR == "crash":
        sys.exit("no report today")
    statuses = {"good": ["passed", "excused"], "bad": ["passed", "failed"], "none": ["not testable"]}[BEHAVIOUR]
    laws = [
        {"law": f"area.law_{number}", "dtype": "float32", "status": status, "detail": f"it {status}"}
        for number, status in enumerate(statuses)
    ]
    folder = Path(sys.argv[sys.argv.index("--report") + 1])
    folder.mkdir(parents=True)
    (folder / "report.json").write_text(json.dumps({"outcomes": laws}))
    sys.exit({"good": 0, "bad": 1, "none": 3}[BEHAVIOUR])
"""

_MATRIX = f"""
[stack]
python = ["{HERE}", "3.99"]
torch = ["1.0"]
transformers = ["1.0"]
[unpinned]
[needs.card]
by_hand = "needs a card"
[needs.device]
device = "/dev/no-such-device"
absent = "no chip is here"
[needs.program]
program = "no-such-compiler"
version = "11"
[packages.core]
supported = ">=0"
variants.notorch = {{ says = "no torch", limit_s = 60, torch = false, tests = ["tests"] }}
[packages.spyre]
supported = ">=0"
[packages.spyre.variants.kit]
says = "the kit"
limit_s = 30
torch = false
kit = []
[packages.spyre.variants.short]
says = "the kit, in no time"
limit_s = 3
torch = false
kit = []
[packages.spyre.variants.card]
says = "on a card"
limit_s = 30
kit = []
needs = ["card"]
[packages.spyre.variants.device]
says = "on a chip"
limit_s = 30
kit = []
needs = ["device"]
[packages.spyre.variants.compiled]
says = "compiled"
limit_s = 30
kit = []
needs = ["program"]
[sessions]
"""


def make_tiny(path: Path) -> Path:
    """core 0.1.0 and spyre 0.1.0, which is good and takes cores below 0.3."""
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    (path / ".gitignore").write_text("build/\n*.egg-info/\n")
    write_core(path, "0.1.0")
    write_plugin(path, "good")
    scratch.commit(path, "tiny")
    return path


def write_core(tree: Path, version: str, *, refuses: bool = True) -> None:
    """`refuses`: whether its discovery says so where a plugin does not fit."""
    folder = tree / CORE.folder
    more = '[project.scripts]\nvllm = "vllm.command:main"'
    source = folder / "src" / "vllm"
    source.mkdir(parents=True, exist_ok=True)
    (source / "__init__.py").touch()
    (source / "command.py").write_text(f"REFUSES = {refuses}\n{_COMMAND}")
    project = _PROJECT.format(name=CORE.distribution, version=version, dependencies="", more=more)
    (folder / "pyproject.toml").write_text(project)


def write_plugin(tree: Path, behaviour: str) -> None:
    """Spyre, which behaves so when it is tested: good, bad, none, hang or crash."""
    source = tree / SPYRE.folder / "src" / "vllm_spyre"
    source.mkdir(parents=True, exist_ok=True)
    (source / "__init__.py").write_text(f"BEHAVIOUR = {behaviour!r}\n")
    project = _PROJECT.format(name=SPYRE.distribution, version="0.1.0", dependencies='"vllm-core>=0.1,<0.3"', more="")
    (tree / SPYRE.folder / "pyproject.toml").write_text(project)


def declared(folder: Path) -> Declared:
    """The tiny repository's matrix."""
    file = folder / "matrix.toml"
    file.write_text(_MATRIX)
    return load(file)
