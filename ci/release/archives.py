"""Owns the two files of a release, the same bytes from the same commit: an sdist, and the wheel that is built from it.

setuptools gives a wheel the time that `SOURCE_DATE_EPOCH` names, but not an sdist: its members are packed again, in order,
with that time and no owner.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import stat
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from ci.environments import Environment, clean_environ
from ci.extensions import BUILT
from ci.packages import Package
from ci.release.native import as_manylinux
from ci.release.refusal import Refused
from ci.versions import git

__all__ = ["Archives", "build_archives", "digest", "normalise_sdist", "require_equal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Archives:
    """What is uploaded of a release."""

    sdist: Path
    wheel: Path

    @property
    def paths(self) -> tuple[Path, Path]:
        return self.sdist, self.wheel


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def build_archives(entry: Package, tree: Path, out: Path, tools: Environment) -> Archives:
    """The sdist of the package in the clone `tree`, and the wheel built from it; both dated by the commit.

    Raises:
        Refused: the wheel built from the tree itself is another one.
    """
    shutil.rmtree(out, ignore_errors=True)
    epoch_s = int(git(tree, "show", "--no-patch", "--format=%ct", "HEAD"))
    sdist = _build(tools, tree / entry.folder, out, "sdist", epoch_s)
    normalise_sdist(sdist, epoch_s)
    unpacked = _unpack(sdist, out / "unpacked")
    wheel = _build(tools, unpacked, out, "wheel", epoch_s)
    direct = _build(tools, tree / entry.folder, out / "direct", "wheel", epoch_s)
    require_equal("the wheel built from the sdist", wheel, "the wheel built from the tree", direct)
    for folder in (unpacked.parent, direct.parent):
        shutil.rmtree(folder)
    return Archives(sdist=sdist, wheel=as_manylinux(wheel, tools, epoch_s))


def _build(tools: Environment, folder: Path, out: Path, what: str, epoch_s: int) -> Path:
    command = [tools.python, "-m", "build", f"--{what}", "--no-isolation", "--outdir", out, folder]
    environ = {key: value for key, value in clean_environ().items() if not key.startswith("SETUPTOOLS_SCM")}
    environ |= {"SOURCE_DATE_EPOCH": str(epoch_s), **BUILT}
    done = subprocess.run(list(map(str, command)), cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        end = "\n".join((done.stdout + done.stderr).splitlines()[-15:])
        raise Refused(f"the {what} of {folder.name} cannot be built ({done.returncode}):\n{end}", remedy="read its end")
    (made,) = out.glob("*.tar.gz" if what == "sdist" else "*.whl")
    return made


def normalise_sdist(path: Path, epoch_s: int) -> None:
    """Pack the archive again: members sorted, all of one time, without owners and with plain modes."""
    packed = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new:
        for member in sorted(old.getmembers(), key=lambda each: each.name):
            content = old.extractfile(member) if member.isfile() else None
            member.mtime, member.uid, member.gid, member.uname, member.gname = epoch_s, 0, 0, "", ""
            member.mode = 0o755 if member.isdir() or member.mode & stat.S_IXUSR else 0o644
            member.pax_headers = {}
            new.addfile(member, content)
    with path.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=epoch_s) as stream:
        stream.write(packed.getvalue())


def _unpack(sdist: Path, folder: Path) -> Path:
    with tarfile.open(sdist) as content:
        content.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return unpacked


def require_equal(one: str, first: Path, other: str, second: Path) -> None:
    """Refuses two files that differ, naming the members that do."""
    if first.name == second.name and digest(first) == digest(second):
        return
    members = sorted(_differing(first, second)) if first.suffix == second.suffix == ".whl" else []
    named = f", in {', '.join(members[:5])}" if members else ""
    raise Refused(
        f"{one} ({first.name}) is not {other} ({second.name}){named}",
        remedy="look for files that only one build sees (MANIFEST.in, package-data), or that hold a time",
    )


def _differing(first: Path, second: Path) -> set[str]:
    contents = []
    for path in (first, second):
        with zipfile.ZipFile(path) as archive:
            contents.append({name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()})
    one, two = contents
    return {name for name in one.keys() | two.keys() if one.get(name) != two.get(name)}
