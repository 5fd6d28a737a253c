"""Owns compiling sources to objects: each kept by its content, on all cores, torch's large headers read only once.

Reading torch's headers is three quarters of the work of compiling a file that uses them. So where several are to be
compiled the headers are compiled first, by themselves; that takes a few hundred megabytes in the cache.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from cann_sim.compiler import Compiler, execute
from cann_sim.libraries import LIBRARIES, SOURCES, Library, reached_headers
from cann_sim.place import Place, digest, named_contents

__all__ = ["Say", "compile_all"]

Say = Callable[[str], None]
_HEADERS = "#include <ATen/ATen.h>\n"
_WORTHWHILE_FILES = 3


def compile_all(place: Place, compiler: Compiler, say: Say) -> dict[str, list[Path]]:
    """Objects by library, in the order of the sources. Raises `BuildError`; what succeeded is kept."""
    place.objects.mkdir(parents=True, exist_ok=True)
    work = [(library, source) for library in LIBRARIES for source in library.sources()]
    targets = [_target(place, compiler, library, source) for library, source in work]
    reading = sum(library.uses_torch for (library, _), target in zip(work, targets, strict=True) if not target.exists())
    with ThreadPoolExecutor(max_workers=len(os.sched_getaffinity(0))) as pool:
        # First in line, so that those who wait for it do not keep it from starting.
        headers = pool.submit(_headers, place, compiler, say) if reading >= _WORTHWHILE_FILES else None
        tasks = [
            pool.submit(_compile, place, compiler, library, source, target, headers, say)
            for (library, source), target in zip(work, targets, strict=True)
        ]
    objects: dict[str, list[Path]] = {library.soname: [] for library in LIBRARIES}
    for (library, _), target, task in zip(work, targets, tasks, strict=True):
        task.result()
        objects[library.soname].append(target)
    return objects


def _target(place: Place, compiler: Compiler, library: Library, source: Path) -> Path:
    """Its name changes with the source, every header of ours it includes, the compiler and the flags that matter: warnings do not."""
    contents = named_contents((source, *reached_headers(source)))
    return place.objects / f"{source.stem}-{_digest_of_flags(place, compiler, library)}-{digest(*contents)}.o"


def _digest_of_flags(place: Place, compiler: Compiler, library: Library) -> str:
    flags = [flag for flag in compiler.flags(library, place.pair) if not flag.startswith(("-I", "-W", "/"))]
    return digest(compiler.path, compiler.version, *flags)[:8]


def _compile(
    place: Place,
    compiler: Compiler,
    library: Library,
    source: Path,
    target: Path,
    headers: Future[Path] | None,
    say: Say,
) -> None:
    if target.exists():
        target.touch()  # in use: not to be thrown away
        return
    before = headers.result() if headers and library.uses_torch else None
    _produce(
        compiler.compile(source, library, place.pair, before=before), target, str(source.relative_to(SOURCES)), say
    )


def _headers(place: Place, compiler: Compiler, say: Say) -> Path:
    """The header to include before all else; beside it lies what the compiler made of it."""
    library = next(library for library in LIBRARIES if library.uses_torch)
    header = place.objects / f"torch-{_digest_of_flags(place, compiler, library)}.h"
    header.write_text(_HEADERS)
    compiled = header.with_suffix(".h.gch")
    if compiled.exists():
        compiled.touch()
    else:
        _produce(compiler.precompile(header, library, place.pair), compiled, "torch's headers", say)
    return header


def _produce(command: list[str], target: Path, name: str, say: Say) -> None:
    """Run the command, which still lacks its output, into `target`: whole or not at all."""
    say(f"compiling {name}")
    unfinished = target.with_name(target.name + ".unfinished")
    warnings = execute([*command, "-o", str(unfinished)], f"compiling {name}")
    if warnings:
        say(warnings)
    unfinished.rename(target)
