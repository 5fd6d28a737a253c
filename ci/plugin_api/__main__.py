"""The command behind `nox -s api`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from ci.packages import CORE, ROOT
from ci.plugin_api.compare import Change, compare
from ci.plugin_api.demands import advice, demands, read_state
from ci.plugin_api.items import Item, parse, render
from ci.plugin_api.page import page
from ci.plugin_api.shims import due_shims
from ci.plugin_api.source import Reading, read_sources
from ci.plugin_api.usage import Interface, read_plugins, uses
from ci.versions import git, next_version

__all__ = ["main", "report"]

_LOCK = f"{CORE.folder}/plugin_api.lock"
_PAGE = "docs/plugin-api.md"


def main(arguments: Sequence[str]) -> int:
    """`python -m ci.plugin_api [--write | --against REF] [--tree DIR]`; 1 where something is left to do."""
    options = _options(arguments)
    tree: Path = options.tree
    reading = read_sources(tree / CORE.folder / "src")
    changes = compare(_locked(tree, options.against), reading.items)
    print(*report(changes, tree, reading.items, options.against), sep="\n")
    problems = [*_owed(changes, tree, reading.items), *_due(tree)]
    if options.write and not problems:
        _write(tree, reading)
    elif not options.against:
        problems += _stale(tree, reading)
    for problem in problems:
        print(f"TO DO: {problem}")
    return 1 if problems else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ci.plugin_api", description="Compare core's plugin interface.")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--write", action="store_true", help=f"renew {_LOCK} and {_PAGE}")
    mode.add_argument("--against", metavar="REF", help="compare with the lock of a tag or commit, e.g. core-v0.1.0")
    parser.add_argument("--tree", type=Path, default=ROOT, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _locked(tree: Path, ref: str | None) -> list[Item]:
    """The lock of the tree, or of a commit; nothing where the tree has none yet."""
    if ref is None:
        file = tree / _LOCK
        return parse(file.read_text(encoding="utf-8")) if file.is_file() else []
    try:
        return parse(git(tree, "show", f"{ref}:{_LOCK}"))
    except subprocess.CalledProcessError as error:
        sys.exit(f"{ref} has no {_LOCK}: {error.stderr.strip()}")


def report(changes: Sequence[Change], tree: Path, items: Sequence[Item], ref: str | None) -> Iterator[str]:
    """The lines to print: breaking changes with the plugins they concern, then additive ones, then what that asks for."""
    base = ref or f"the committed {_LOCK}"
    breaking = [change for change in changes if change.is_breaking]
    additive = [change for change in changes if not change.is_breaking]
    yield f"The plugin interface against {base}: {len(breaking)} breaking, {len(additive)} additive changes."
    interface, sources = Interface([*items, *_locked(tree, ref)]), read_plugins(tree)
    for change in breaking:
        yield f"BREAKING  {change}"
        concerned = uses(change, sources, interface)
        yield from (f"    affects {use}" for use in concerned)
        if not concerned:
            yield "    affects no plugin of this tree"
    yield from (f"additive  {change}" for change in additive)
    hint = advice(changes, read_state(tree))
    yield from [hint] if hint else []


def _owed(changes: Sequence[Change], tree: Path, items: Sequence[Item]) -> list[str]:
    """Version and fragments, for everything since the last release, also where the lock has been renewed meanwhile."""
    state = read_state(tree)
    tag = f"{CORE.tag_prefix}{state.released}"
    has_lock = state.released and git(tree, "ls-tree", "--name-only", tag, _LOCK)
    return demands(compare(_locked(tree, tag), items) if has_lock else changes, state)


def _due(tree: Path) -> list[str]:
    shims = due_shims(tree / CORE.folder / "src", next_version(CORE, tree))
    return [str(shim) for shim in shims]


def _files(tree: Path, reading: Reading) -> dict[Path, str]:
    return {tree / _LOCK: render(reading.items), tree / _PAGE: page(reading.items, reading.module_docs)}


def _write(tree: Path, reading: Reading) -> None:
    for file, text in _files(tree, reading).items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        print(f"wrote {file.relative_to(tree)}")


def _stale(tree: Path, reading: Reading) -> list[str]:
    """Written files that do not say what the sources say."""
    return [
        f"{file.relative_to(tree)} is not what the sources say: run `nox -s api -- --write` and commit it"
        for file, text in _files(tree, reading).items()
        if not file.is_file() or file.read_text(encoding="utf-8") != text
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
