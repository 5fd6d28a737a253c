"""Owns the build: every source to an object, kept by its content; the objects to libraries; the libraries to a toolkit.

A toolkit is named by what it is made of, so an edited source gives another one beside it. It appears in one rename,
whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from cann_sim import cache
from cann_sim.compiler import Compiler, execute, find_compiler
from cann_sim.libraries import LIBRARIES, SOURCES, Library, reached_headers
from cann_sim.toolkit import CANN_VERSION, Toolkit, lay_out
from cann_sim.wheels import Pair, installed_pair

__all__ = ["Place", "build", "built", "place"]

Say = Callable[[str], None]


def _quietly(line: str) -> None:
    """Nobody listens."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where what is compiled for a pair lies."""

    pair: Pair
    folder: Path

    @property
    def objects(self) -> Path:
        return self.folder / "objects"

    @property
    def toolkits(self) -> Path:
        return self.folder / "toolkits"

    def toolkit(self) -> Toolkit:
        """The toolkit that belongs to the sources as they are now, whether it is built or not."""
        return Toolkit(path=self.toolkits / _digest_of_sources())


def place() -> Place:
    """The place of the installed pair; raises `PairError`."""
    pair = installed_pair()
    return Place(pair=pair, folder=cache.root() / pair.key)


def built() -> Toolkit | None:
    """The toolkit for the installed pair and the sources as they are, if it is built."""
    toolkit = place().toolkit()
    return toolkit if toolkit.path.is_dir() else None


def build(*, force: bool = False, say: Say = _quietly) -> Toolkit:
    """The toolkit, compiled where it is not there yet. `force` compiles everything again.

    Raises:
        PairError, CompilerMissing, BuildError: nothing is left behind.
    """
    here = place()
    with cache.locked(here.folder):
        toolkit = here.toolkit()
        if force:
            shutil.rmtree(here.objects, ignore_errors=True)
            shutil.rmtree(toolkit.path, ignore_errors=True)
        if not toolkit.path.is_dir():
            _assemble(here, toolkit.path, say)
            cache.prune(here.toolkits, here.objects)
    return toolkit


def _assemble(here: Place, target: Path, say: Say) -> None:
    compiler = find_compiler()
    here.objects.mkdir(parents=True, exist_ok=True)
    objects = _compile_all(here, compiler, say)
    unfinished = here.folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    folder = lay_out(unfinished).libraries
    for library in LIBRARIES:
        execute(compiler.link(library, objects[library.soname], folder, here.pair), f"linking {library.soname}")
    here.toolkits.mkdir(exist_ok=True)
    unfinished.rename(target)


def _compile_all(here: Place, compiler: Compiler, say: Say) -> dict[str, list[Path]]:
    """Objects by library, in the order of the sources; on all cores that this process may use."""
    work = [(library, source) for library in LIBRARIES for source in library.sources()]

    def compiled(item: tuple[Library, Path]) -> Path:
        return _compile(here, compiler, *item, say)

    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        objects = list(pool.map(compiled, work))
    by_library: dict[str, list[Path]] = {library.soname: [] for library in LIBRARIES}
    for (library, _), path in zip(work, objects, strict=True):
        by_library[library.soname].append(path)
    return by_library


def _compile(here: Place, compiler: Compiler, library: Library, source: Path, say: Say) -> Path:
    target = here.objects / f"{source.stem}-{_digest_of_object(compiler, library, source, here.pair)}.o"
    if target.exists():
        target.touch()  # in use: not to be thrown away
        return target
    name = source.relative_to(SOURCES)
    say(f"compiling {name}")
    unfinished = target.with_suffix(".unfinished")
    warnings = execute(compiler.compile(source, unfinished, library, here.pair), f"compiling {name}")
    if warnings:
        say(warnings)
    unfinished.rename(target)
    return target


def _digest(*parts: str | bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(str(len(data)).encode() + b":" + data)
    return digest.hexdigest()[:24]


def _named_contents(paths: tuple[Path, ...]) -> list[str | bytes]:
    return [part for path in paths for part in (str(path.relative_to(SOURCES)), path.read_bytes())]


def _digest_of_object(compiler: Compiler, library: Library, source: Path, pair: Pair) -> str:
    """Changes with the source, every header of ours it includes, the compiler and the flags that matter."""
    flags = [flag for flag in compiler.flags(library, pair) if not flag.startswith(("-I", "/"))]
    return _digest(compiler.path, compiler.version, *flags, *_named_contents((source, *reached_headers(source))))


def _digest_of_sources() -> str:
    """Changes with anything that a toolkit is made of, this package's own recipe included."""
    recipe = [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py")) if path.stem in _RECIPE]
    sources = [source for library in LIBRARIES for source in library.sources()]
    headers = sorted({header for source in sources for header in reached_headers(source)})
    return _digest(CANN_VERSION, *recipe, *_named_contents((*sources, *headers)))


_RECIPE = ("libraries", "compiler", "toolkit")
