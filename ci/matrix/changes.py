"""What a change touches: its files, the import graph above them, and the uses of what it broke in the plugin interface."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import grimp

from ci.matrix.sources import UnknownSource
from ci.packages import CORE, PACKAGES, PLUGINS, ROOT, Package, owner
from ci.plugin_api.compare import compare
from ci.plugin_api.items import parse
from ci.plugin_api.source import read_sources
from ci.plugin_api.usage import Interface, read_plugins, uses
from ci.versions import git

__all__ = ["changed_files", "import_graph", "imports_of", "module_of", "uses_of_broken"]

_LOCK = f"{CORE.folder}/plugin_api.lock"


def changed_files(base: str, tree: Path = ROOT) -> list[str]:
    """Files that differ from where this branch left `base`: committed, uncommitted and new ones, in order.

    Raises:
        UnknownSource: `base` is not here.
    """
    try:
        fork = git(tree, "merge-base", base, "HEAD")
    except subprocess.CalledProcessError as error:
        why = error.stderr.strip() or "they have no commit in common here; a shallow clone knows few"
        raise UnknownSource(
            f"{base} cannot be compared with HEAD: {why}. Fetch it: git fetch --unshallow --tags"
        ) from None
    told = git(tree, "diff", "--name-only", "--no-renames", fork)
    untracked = git(tree, "ls-files", "--others", "--exclude-standard")
    return sorted({*told.splitlines(), *untracked.splitlines()})


def module_of(file: str) -> str | None:
    """`core/src/vllm/engine/core.py` is `vllm.engine.core`, `ci/wheels.py` is `ci.wheels`; None for what is no module."""
    if not file.endswith(".py"):
        return None
    entry = owner(file)
    inner = file.removeprefix(f"{entry.folder}/src/") if entry else file
    if inner == file and not file.startswith("ci/"):
        return None
    return inner.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def import_graph(tree: Path = ROOT) -> grimp.ImportGraph:
    """Who imports whom, over all packages and `ci`; read from the sources, nothing is imported."""
    present = [entry for entry in PACKAGES if (tree / entry.folder / "src" / entry.import_name).is_dir()]
    with _found_first([tree, *(tree / entry.folder / "src" for entry in present)]):
        return grimp.build_graph("ci", *(entry.import_name for entry in present), cache_dir=None)


@contextmanager
def _found_first(folders: Sequence[Path]) -> Iterator[None]:
    before = list(sys.path)
    sys.path[:0] = map(str, folders)
    try:
        yield
    finally:
        sys.path[:] = before


def imports_of(plugin: Package, modules: Iterable[str], graph: grimp.ImportGraph) -> list[str]:
    """Which of the plugin's modules import these directly, as sentences; what only core passes on is not told."""
    told = []
    for module in sorted(set(modules) & graph.modules):
        above = graph.find_modules_that_directly_import(module)
        own = sorted(each for each in above if each.partition(".")[0] == plugin.import_name)
        told += [f"{each} imports {module}" for each in own]
    return told


def uses_of_broken(base: str, tree: Path = ROOT) -> dict[str, list[str]]:
    """Plugin -> its uses of what the interface no longer offers as at `base`; empty where base has no lock."""
    try:
        before = parse(git(tree, "show", f"{base}:{_LOCK}"))
    except subprocess.CalledProcessError:
        return {}
    after = read_sources(tree / CORE.folder / "src").items
    interface, sources = Interface([*after, *before]), read_plugins(tree)
    found: dict[str, list[str]] = {entry.name: [] for entry in PLUGINS}
    for change in compare(before, after):
        for use in uses(change, sources, interface) if change.is_breaking else ():
            found.setdefault(use.plugin, []).append(f"{use.file}:{use.line} {use.how}: {change}")
    return {plugin: told for plugin, told in found.items() if told}
