"""Owns the reading of a wheel's METADATA: its fields, what it asks for on this machine, and the cores that it claims."""

from __future__ import annotations

import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from ci.packages import CORE

__all__ = ["core_range", "read_metadata", "requirements"]


def read_metadata(wheel: Path) -> Message:
    """The wheel's own METADATA."""
    with zipfile.ZipFile(wheel) as content:
        (name,) = (name for name in content.namelist() if name.endswith(".dist-info/METADATA"))
        return Parser().parsestr(content.read(name).decode())


def requirements(wheel: Path) -> list[Requirement]:
    """What the wheel asks for on this machine, without extras."""
    wanted = [Requirement(text) for text in read_metadata(wheel).get_all("Requires-Dist", [])]
    return [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]


def core_range(wheel: Path) -> SpecifierSet | None:
    """The range of cores that a wheel asks for, whichever way it spells the name; None where it asks for none."""
    found = (each.specifier for each in requirements(wheel) if canonicalize_name(each.name) == CORE.distribution)
    return next(found, None)
