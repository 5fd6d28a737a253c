"""A small repository made of this tree's packages, to be tagged, cloned and built without touching the real one."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from ci.environments import clean_environ
from ci.extensions import LEFT_OUT
from ci.packages import PACKAGES, ROOT, Package
from ci.versions import git

_AUTHOR = ("-c", "user.name=scratch", "-c", "user.email=scratch@example.invalid", "-c", "commit.gpgsign=false")
_HOOKS = "import setuptools.build_meta as backend, sys; print(getattr(backend, sys.argv[1])(sys.argv[2]))"


def make_repository(path: Path, packages: Sequence[Package] = PACKAGES, more: Sequence[str] = ()) -> Path:
    """The tracked files of the packages and of `more`, committed twice, so that a clone of depth 1 really is shallow."""
    path.mkdir()
    git(path, "init", "--quiet", "--initial-branch=main")
    commit(path, "empty")
    for name in git(ROOT, "ls-files", ".gitignore", *(entry.folder for entry in packages), *more).splitlines():
        if (ROOT / name).is_file():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, path / name)
    commit(path, "packages")
    return path


def commit(tree: Path, message: str) -> None:
    git(tree, "add", "--all")
    git(tree, *_AUTHOR, "commit", "--quiet", "--allow-empty", "--message", message)


def clone(source: Path, target: Path, *options: str) -> Path:
    """A clone through the git protocol, where `--depth` counts (a clone by path ignores it)."""
    git(source, "clone", "--quiet", *options, source.as_uri(), str(target))
    return target


def sha(tree: Path) -> str:
    return git(tree, "rev-parse", "HEAD")


def _hook(folder: Path, name: str, out: Path, env: Mapping[str, str] = LEFT_OUT) -> Path:
    """Call one PEP 517 hook in a package's folder, as a build frontend does; the path of what it made."""
    out.mkdir(parents=True, exist_ok=True)
    environ = {key: value for key, value in clean_environ().items() if not key.startswith("SETUPTOOLS_SCM")} | dict(env)
    command = [sys.executable, "-c", _HOOKS, name, str(out)]
    done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    return out / done.stdout.splitlines()[-1]


def version(tree: Path, entry: Package, out: Path) -> str:
    """The version that a wheel of the package in `tree` would get."""
    metadata = _hook(tree / entry.folder, "prepare_metadata_for_build_wheel", out) / "METADATA"
    return _field(metadata.read_text(), "Version")


def sdist(tree: Path, entry: Package, out: Path) -> Path:
    """Build the package's sdist and unpack it; the folder of its content."""
    archive = _hook(tree / entry.folder, "build_sdist", out)
    with tarfile.open(archive) as content:
        content.extractall(out, filter="data")
    return out / archive.name.removesuffix(".tar.gz")


def wheel(folder: Path, out: Path, env: Mapping[str, str] = LEFT_OUT) -> Path:
    """Build the wheel of the package in `folder`; nothing is compiled, unless `env` says so."""
    return _hook(folder, "build_wheel", out, env)


def wheel_text(path: Path, suffix: str) -> str:
    """Text of the one file in a wheel whose name ends so."""
    with zipfile.ZipFile(path) as content:
        (name,) = (name for name in content.namelist() if name.endswith(suffix))
        return content.read(name).decode()


def wheel_version(path: Path) -> str:
    return _field(wheel_text(path, ".dist-info/METADATA"), "Version")


def _field(metadata: str, name: str) -> str:
    (value,) = (line.partition(": ")[2] for line in metadata.splitlines() if line.startswith(f"{name}: "))
    return value
