"""Owns the release commit: made in a clone, so that whatever fails leaves the repository as it was.

The commit holds the assembled changelog, and at the end the record of what was tested. It is amended, not followed, so that
the tag stands on one commit; its date stays, so that what is built from it stays the same bytes.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from packaging.version import Version

from ci.environments import Environment, clean_environ
from ci.matrix.sources import Source, of_commit
from ci.packages import Package
from ci.release.compatibility import PAGE, render_page
from ci.release.ledger import Release, read_ledger, write_ledger
from ci.release.refusal import Refused
from ci.versions import git

__all__ = ["Candidate", "announce_next", "make_candidate", "record"]

_IDENTITY = ("user.name", "user.email")
_NOBODY = {"user.name": "release rehearsal", "user.email": "nobody@example.invalid"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A release that is being made: a clone at `tree`, one commit beyond `base`."""

    entry: Package
    version: Version
    tree: Path
    base: str
    date: str

    @property
    def tag(self) -> str:
        return f"{self.entry.tag_prefix}{self.version}"

    @property
    def title(self) -> str:
        return f"{self.entry.distribution} {self.version}"

    @property
    def beside(self) -> Source:
        """Where unreleased packages that it is tested with come from: the commit that is released, and not a tree that moves on.

        The release's own commit differs from it in this package's changelog only, and is amended until it is tagged.
        """
        return of_commit(self.base)


def make_candidate(
    entry: Package, version: Version, source: Path, folder: Path, *, date: str, tools: Environment
) -> Candidate:
    """Clone `source` to `folder`, assemble the changelog there, commit and tag."""
    shutil.rmtree(folder, ignore_errors=True)
    git(source, "clone", "--quiet", "--shared", str(source), str(folder))
    for key in _IDENTITY:
        git(folder, "config", key, _configured(source, key))
    made = Candidate(entry=entry, version=version, tree=folder, base=git(folder, "rev-parse", "HEAD"), date=date)
    _assemble_changelog(made, tools)
    _commit(made, "--message", f"release: {made.title}")
    _tag(made, made.title)
    return made


def _configured(source: Path, key: str) -> str:
    return git(source, "config", "--default", _NOBODY[key], key)


def _assemble_changelog(made: Candidate, tools: Environment) -> None:
    where = ("--dir", str(made.tree / made.entry.folder), "--version", str(made.version), "--date", made.date[:10])
    done = subprocess.run(
        [str(tools.script("towncrier")), "build", "--yes", *where],
        cwd=made.tree,
        env=clean_environ(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Refused(f"towncrier fails ({done.returncode}): {done.stderr.strip()}", remedy="read what it says")


def _commit(made: Candidate, *options: str) -> None:
    dates = {"GIT_AUTHOR_DATE": made.date, "GIT_COMMITTER_DATE": made.date}
    git(made.tree, "add", "--all")
    command = ["git", "commit", "--quiet", "--allow-empty", *options]
    subprocess.run(command, cwd=made.tree, env=clean_environ() | dates, check=True)


def _tag(made: Candidate, message: str) -> None:
    git(made.tree, "tag", "--force", "--annotate", made.tag, "--message", message)


def record(made: Candidate, release: Release) -> None:
    """Put what was tested into the ledger, the page and the tag, in the same commit."""
    write_ledger(made.tree, [*read_ledger(made.tree), release])
    (made.tree / PAGE).write_text(render_page(made.tree), encoding="utf-8")
    _commit(made, "--amend", "--no-edit")
    tested = ", ".join(release.tested_with)
    _tag(made, f"{made.title}\n\nThe conformance kit's laws hold with {tested}." if tested else made.title)


def announce_next(made: Candidate) -> str:
    """A second commit that raises the committed next version, as development builds want it; gives that version."""
    version = made.version
    coming = f"{version.major}.{version.minor}.{version.micro + (0 if version.is_prerelease else 1)}.dev0"
    file = made.tree / made.entry.folder / "pyproject.toml"
    text, count = re.subn(
        r'^fallback_version = "[^"]+"$', f'fallback_version = "{coming}"', file.read_text(), flags=re.MULTILINE
    )
    assert count == 1, f"{file} has {count} lines fallback_version"
    file.write_text(text)
    (made.tree / PAGE).write_text(render_page(made.tree), encoding="utf-8")
    _commit(made, "--message", f"{made.entry.distribution}: the next version is {coming}")
    return coming
