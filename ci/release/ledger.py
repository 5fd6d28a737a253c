"""Owns `ci/releases.toml`: every release that was made, and what it was tested with. Only a release writes there."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from packaging.version import Version

from ci.packages import package

__all__ = ["LEDGER", "Release", "read_ledger", "render", "write_ledger"]

LEDGER = Path("ci") / "releases.toml"
_HEAD = (
    "# Every release, and what it was tested with. Written by `nox -s release`; docs/compatibility.md is made of it.\n"
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Release:
    """One release of one package."""

    package: str
    version: str
    date: str
    python: str
    torch: str
    transformers: str
    wants: str
    """The range of cores that a plugin claims, as in its metadata; empty where the package claims none."""
    tested_with: tuple[str, ...]
    """The other side of each pair of wheels that kept the conformance kit's laws: `core 0.1.0`, `cpu_ref 0.1.2`."""

    def __post_init__(self) -> None:
        package(self.package)
        Version(self.version)


def read_ledger(tree: Path) -> list[Release]:
    """The releases in the order in which they were made; none where the file is not there yet."""
    file = tree / LEDGER
    entries = tomllib.loads(file.read_text(encoding="utf-8")).get("release", []) if file.is_file() else []
    return [Release(**entry | {"tested_with": tuple(entry["tested_with"])}) for entry in entries]


def render(releases: Iterable[Release]) -> str:
    """The file's text. A JSON string or list of strings is one of TOML too."""
    names = [field.name for field in fields(Release)]
    tables = []
    for release in releases:
        values = asdict(release)
        tables.append("\n[[release]]\n" + "".join(f"{name} = {json.dumps(values[name])}\n" for name in names))
    return _HEAD + "".join(tables)


def write_ledger(tree: Path, releases: Iterable[Release]) -> None:
    (tree / LEDGER).write_text(render(releases), encoding="utf-8")
