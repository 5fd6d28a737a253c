"""Owns wheels with machine code: they must be manylinux, so that they run without a compiler on the target.

A wheel without machine code must be pure. auditwheel decides which manylinux a wheel keeps; it changes nothing here.
"""

from __future__ import annotations

import json
import re
import subprocess
import zipfile
from pathlib import Path

from packaging.utils import parse_wheel_filename

from ci.environments import Environment, clean_environ
from ci.release.refusal import Refused

__all__ = ["check_machine_code", "machine_code"]

_ELF = b"\x7fELF"


def machine_code(wheel: Path) -> list[str]:
    """Members of the wheel that are ELF files, by content and not by name."""
    with zipfile.ZipFile(wheel) as content:
        return [name for name in content.namelist() if content.open(name).read(4) == _ELF]


def check_machine_code(wheel: Path, tools: Environment) -> str:
    """One sentence about what the wheel runs on; raises `Refused` where its name promises something else."""
    platforms = {tag.platform for tag in parse_wheel_filename(wheel.name)[3]}
    native = machine_code(wheel)
    if not native:
        if platforms != {"any"}:
            raise Refused(
                f"{wheel.name} is for {', '.join(sorted(platforms))} but holds no machine code",
                remedy="build it as a pure wheel (py3-none-any)",
            )
        return "pure Python: no machine code, one wheel for every machine"
    promised = sorted(platform for platform in platforms if platform.startswith("manylinux"))
    if not promised or len(promised) != len(platforms):
        raise Refused(
            f"{wheel.name} holds machine code ({', '.join(native[:3])}) and is for {', '.join(sorted(platforms))}",
            remedy="build it in a manylinux image and run `auditwheel repair`",
        )
    return _audited(wheel, promised, tools)


def _audited(wheel: Path, promised: list[str], tools: Environment) -> str:
    done = subprocess.run(
        [str(tools.script("auditwheel")), "show", str(wheel)],
        env=clean_environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    said = " ".join(done.stdout.split())
    kept = re.search(r'is consistent with the following platform tag: "([^"]+)"', said)
    if done.returncode or kept is None or _glibc(kept[1]) > min(map(_glibc, promised)):
        found = kept[1] if kept else "no manylinux at all"
        raise Refused(
            f"{wheel.name} promises {json.dumps(promised)}, but auditwheel finds {found}: {said or done.stderr.strip()}",
            remedy="build it in the image of the manylinux that it promises and run `auditwheel repair`",
        )
    return f"machine code for {kept[1]}, found by auditwheel: no compiler is needed on the target"


def _glibc(tag: str) -> tuple[int, int]:
    """`manylinux_2_28_x86_64` → (2, 28); what is no such tag counts as newer than anything."""
    found = re.match(r"manylinux_(\d+)_(\d+)_", tag)
    return (int(found[1]), int(found[2])) if found else (10_000, 0)
