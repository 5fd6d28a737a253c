"""Owns what the files of a release say and hold: name, version, licence, readme, range of cores, and nothing that does not belong."""

from __future__ import annotations

import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from packaging.version import Version

from ci.environments import Environment, clean_environ
from ci.packages import CORE, PLUGINS, Package
from ci.release.archives import Archives
from ci.release.refusal import Refused
from ci.wheel_metadata import core_range, read_metadata

__all__ = ["check_metadata"]

LICENCE = "Apache-2.0"


def check_metadata(entry: Package, version: Version, archives: Archives, licence: str, tools: Environment) -> None:
    """Raises `Refused` with everything that is wrong, twine's and check-wheel-contents' findings included."""
    wrong = [*_fields(entry, version, archives.wheel), *_licences(archives, licence), *_tools(archives, tools)]
    if wrong:
        raise Refused("; ".join(wrong), remedy=f"mend {entry.folder}/pyproject.toml and commit")


def _fields(entry: Package, version: Version, wheel: Path) -> Iterator[str]:
    metadata = read_metadata(wheel)
    wanted = {"Name": entry.distribution, "Version": str(version), "License-Expression": LICENCE}
    for field, value in wanted.items():
        if metadata[field] != value:
            yield f"{field} is {metadata[field]!r} instead of {value!r}"
    for field in ("Summary", "Requires-Python", "Description-Content-Type"):
        if not metadata[field]:
            yield f"{field} is missing"
    if entry in PLUGINS and not core_range(wheel):
        yield f"it does not say which versions of {CORE.distribution} it fits"


def _licences(archives: Archives, licence: str) -> Iterator[str]:
    """The licence's text, whole, in both files."""
    with zipfile.ZipFile(archives.wheel) as content:
        held = [content.read(name).decode() for name in content.namelist() if name.endswith("/licenses/LICENSE")]
    if held != [licence]:
        yield f"{archives.wheel.name} holds {len(held)} licence files instead of the repository's LICENSE"
    with tarfile.open(archives.sdist) as tar:
        names = [name for name in tar.getnames() if name.count("/") == 1 and name.endswith("/LICENSE")]
    if len(names) != 1:
        yield f"{archives.sdist.name} holds {len(names)} LICENSE files at its top"


def _tools(archives: Archives, tools: Environment) -> Iterator[str]:
    commands = (
        (tools.script("twine"), "check", "--strict", *archives.paths),
        (tools.script("check-wheel-contents"), "--no-config", archives.wheel),
    )
    for command in commands:
        done = subprocess.run(list(map(str, command)), env=clean_environ(), capture_output=True, text=True, check=False)
        if done.returncode:
            yield f"{command[0].name} says:\n{(done.stdout + done.stderr).strip()}\n"
