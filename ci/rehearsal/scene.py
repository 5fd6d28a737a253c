"""Owns the scratch clone: its commits, its tags, and what each of them changes.

| tag | what |
|---|---|
| core 0.1.0, cpu_ref 0.1.0, toy 0.1.0 | toy calls `Platform.device_label()`, and claims every core below 0.4 |
| core 0.2.0, cpu_ref 0.2.0 | `describe_device()` is new, `device_label()` warns; cpu_ref claims every core below 0.4 |
| core 0.3.0 | `device_label()` is gone |
| toy 0.1.1 | calls `describe_device()`, and claims cores from 0.2 |
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ci.packages import ROOT
from ci.plugin_api.__main__ import main as plugin_api
from ci.versions import git

__all__ = ["MATRIX", "Scene", "make_scene", "rewrite"]

PLATFORM = Path("core/src/vllm/platforms/interface.py")
TOY = Path("plugins/toy")
TOY_PLATFORM = TOY / "src/vllm_toy/platform.py"
_ANCHOR = "    # -- configuration --"
_OLD = '''\
    def device_label(self, device_id: int = 0) -> str:
        """A short name for logs."""
        return f"{self.name} {device_id}"

'''
_NEW = '''\
    def describe_device(self, device_id: int = 0) -> str:
        """A short name for logs."""
        return f"{self.name} {device_id}"

'''
_SHIM = '    @deprecated(instead="describe_device()", goes_in="0.3")\n'
_IMPORT = "from vllm.deprecation import deprecated\n"
MATRIX = """\
[stack]
python = ["3.11"]
torch = ["2.13.0"]
transformers = ["5.23.0"]
[unpinned]
[needs]
[sessions]
[packages.core]
supported = ">=0.1"
[packages.core.variants.notorch]
says = "one file"
torch = false
tests = ["tests/test_errors.py"]
limit_s = 600
[packages.cpu_ref]
supported = ">=0.1"
[packages.cpu_ref.variants.answers]
says = "the law that asks the platform everything"
kit = ["--dtype", "float32", "--law", "contract.answers_have_their_types"]
limit_s = 600
[packages.toy]
supported = ">=0.1"
[packages.toy.variants.answers]
says = "the law that asks the platform everything"
kit = ["--dtype", "float32", "--law", "contract.answers_have_their_types"]
limit_s = 600
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scene:
    """The clone. `breaking` is the commit that takes the old method away."""

    tree: Path
    breaking: str


def make_scene(tree: Path, scaffold: Callable[[Path], None], source: Path = ROOT) -> Scene:
    """Clone `source` to `tree` and make its history; `scaffold(folder)` writes the plugin `toy` as `vllm plugin new` does."""
    shutil.rmtree(tree, ignore_errors=True)
    git(source, "clone", "--quiet", "--no-tags", str(source), str(tree))
    git(tree, "config", "user.name", "rehearsal")
    git(tree, "config", "user.email", "rehearsal@example.invalid")
    _begin(tree, scaffold)
    _deprecate(tree)
    _commit(tree, "core: a change that concerns nobody", note="first")
    _commit(tree, "core: another one", note="second")
    breaking = _remove(tree)
    _commit(tree, "core: one more", "core-v0.3.0", note="third")
    _mend(tree)
    return Scene(tree=tree, breaking=breaking)


def rewrite(file: Path, old: str, new: str) -> None:
    """Replace the one place where `old` stands; an assertion says where the scene no longer fits the sources."""
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file} holds {old!r} {text.count(old)} times"
    file.write_text(text.replace(old, new), encoding="utf-8")


def _commit(tree: Path, message: str, *tags: str, note: str | None = None) -> str:
    if note is not None:  # in core, so that a bisection must ask about it
        (tree / "core" / "changelog.d" / f"+{note}.fixed.md").write_text(f"The {note} of some small changes.\n")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", message)
    for tag in tags:
        git(tree, "tag", "--annotate", tag, "--message", tag)
    return git(tree, "rev-parse", "HEAD")


def _lock(tree: Path, fragment: str, text: str) -> None:
    """What a change of the interface owes: a fragment, and the lock renewed."""
    (tree / "core" / "changelog.d" / fragment).write_text(f"{text}\n")
    left = plugin_api(["--write", "--tree", str(tree)])
    assert left == 0, "the interface check asks for more than the scene gives"


def _next(tree: Path, folder: str, version: str) -> None:
    file = tree / folder / "pyproject.toml"
    text = re.sub(r'^fallback_version = ".*"$', f'fallback_version = "{version}.dev0"', file.read_text(), flags=re.M)
    file.write_text(text)


def _claim(tree: Path, folder: str, wanted: str) -> None:
    file = tree / folder / "pyproject.toml"
    file.write_text(re.sub(r'"vllm-core>=[^"]*"', f'"vllm-core{wanted}"', file.read_text()))


def _begin(tree: Path, scaffold: Callable[[Path], None]) -> None:
    """toy joins the house, the matrix is cut to two packages, and all three are released."""
    _next(tree, "core", "0.1.0")
    _claim(tree, "plugins/cpu_ref", ">=0.1.dev0,<0.2.dev0")
    rewrite(tree / PLATFORM, _ANCHOR, _OLD + _ANCHOR)
    scaffold(tree / TOY)
    _settle(tree)
    rewrite(tree / TOY_PLATFORM, 'return "toy (the CPU stands in)"', "return self.device_label(device_id)")
    _lock(tree, "+label.added.md", "device_label() is there.")
    (tree / "ci" / "matrix.toml").write_text(MATRIX)
    rewrite(tree / "ci" / "packages.py", '("cpu_ref", "ascend", "spyre")', '("cpu_ref", "ascend", "spyre", "toy")')
    _commit(tree, "toy joins; first releases", "core-v0.1.0", "cpu-ref-v0.1.0", "toy-v0.1.0")


def _settle(tree: Path) -> None:
    """What a scaffold wants to be a package of this house: the house's metadata, licence and changelog."""
    neighbour = (tree / "plugins/cpu_ref/pyproject.toml").read_text()
    (tree / TOY / "pyproject.toml").write_text(neighbour.replace("cpu_ref", "toy").replace("cpu-ref", "toy"))
    _claim(tree, str(TOY), ">=0.1.dev0,<0.4.dev0")
    shutil.copy(tree / "LICENSE", tree / TOY / "LICENSE")
    (tree / TOY / "CHANGELOG.md").write_text("# Changelog\n\n<!-- towncrier release notes start -->\n")
    (tree / TOY / "changelog.d").mkdir()
    (tree / TOY / "changelog.d" / ".gitignore").write_text("!.gitignore\n")


def _deprecate(tree: Path) -> None:
    _next(tree, "core", "0.2.0")
    rewrite(tree / PLATFORM, _OLD, _NEW + _SHIM + _OLD)
    text = (tree / PLATFORM).read_text()
    place = text.index("from vllm.")
    (tree / PLATFORM).write_text(text[:place] + _IMPORT + text[place:])
    _lock(tree, "+describe.added.md", "describe_device() is there, for device_label().")
    _next(tree, "plugins/cpu_ref", "0.2.0")
    _claim(tree, "plugins/cpu_ref", ">=0.1.dev0,<0.4.dev0")
    _commit(tree, "describe_device() is new, device_label() is deprecated", "core-v0.2.0", "cpu-ref-v0.2.0")


def _remove(tree: Path) -> str:
    _next(tree, "core", "0.3.0")
    rewrite(tree / PLATFORM, _SHIM + _OLD, "")
    rewrite(tree / PLATFORM, _IMPORT, "")
    _lock(tree, "+gone.breaking.md", "device_label() is gone: call describe_device().")
    return _commit(tree, "device_label() is gone")


def _mend(tree: Path) -> None:
    """toy 0.1.1 calls the new method; after it comes a change that its next release is for."""
    rewrite(tree / TOY_PLATFORM, "return self.device_label(device_id)", "return self.describe_device(device_id)")
    _claim(tree, str(TOY), ">=0.2.dev0,<0.4.dev0")
    _next(tree, str(TOY), "0.1.1")
    _commit(tree, "toy calls describe_device()", "toy-v0.1.1")
    _next(tree, str(TOY), "0.1.2")
    _next(tree, "core", "0.3.1")
    _next(tree, "plugins/cpu_ref", "0.2.1")
    (tree / TOY / "changelog.d" / "1.fixed.md").write_text("The toy says its number.\n")
    _commit(tree, "toy: a fix to be released")
