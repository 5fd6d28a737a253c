"""Owns what a release leaves: `dist/<package>/` with checksums, and, when it is real, the commits and the tag. It uploads nothing."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

from ci.packages import Package
from ci.release.archives import digest
from ci.release.candidate import Candidate
from ci.release.refusal import Refused
from ci.versions import git

__all__ = ["CHECKSUMS", "adopt", "lay_out"]

CHECKSUMS = "SHA256SUMS"


def lay_out(entry: Package, files: Iterable[Path], root: Path) -> Path:
    """Copy the files to `dist/<package>/`, replacing what was there, with their sums as `sha256sum --check` reads them."""
    folder = root / "dist" / entry.name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    copies = [Path(shutil.copy(file, folder)) for file in files]
    lines = [f"{digest(path)}  {path.name}\n" for path in sorted(copies)]
    (folder / CHECKSUMS).write_text("".join(lines), encoding="utf-8")
    return folder


def adopt(made: Candidate, source: Path) -> None:
    """Take the candidate's commits and tag into `source`, by fast forward only; both or neither."""
    branch = git(source, "branch", "--show-current")
    if git(source, "rev-parse", "HEAD") != made.base:
        raise Refused(f"{branch} has moved since the release began", remedy="begin again")
    # the tag first: a tag that is taken refuses the release before the branch moves
    git(source, "fetch", "--quiet", "--no-tags", str(made.tree), f"refs/tags/{made.tag}:refs/tags/{made.tag}")
    try:
        git(source, "fetch", "--quiet", "--no-tags", str(made.tree), "HEAD")
        git(source, "merge", "--quiet", "--ff-only", "FETCH_HEAD")
    except subprocess.CalledProcessError:
        git(source, "tag", "--delete", made.tag)
        raise
