"""Owns the build: objects to libraries, libraries to a toolkit, which appears in one rename, whole or not at all.

A toolkit is named by what it is made of, so an edited source gives another one beside it.
"""

from __future__ import annotations

import shutil

from cann_sim import cache
from cann_sim.compiler import execute, find_compiler
from cann_sim.libraries import LIBRARIES
from cann_sim.objects import Say, compile_all
from cann_sim.place import Place, place
from cann_sim.toolkit import Toolkit, lay_out

__all__ = ["Say", "build", "built"]


def _quietly(line: str) -> None:
    """Nobody listens."""


def built() -> Toolkit | None:
    """The toolkit for the installed pair and the sources as they are, if it is built."""
    toolkit = place().toolkit()
    return toolkit if toolkit.path.is_dir() else None


def build(*, force: bool = False, say: Say = _quietly) -> Toolkit:
    """The toolkit, compiled where it is not there yet. `force` compiles everything again.

    Raises:
        PairError, CompilerMissing, BuildError: nothing unfinished is left for others to find.
    """
    here = place()
    with cache.locked(here.folder):
        toolkit = here.toolkit()
        if force:
            shutil.rmtree(here.objects, ignore_errors=True)
            shutil.rmtree(toolkit.path, ignore_errors=True)
        if not toolkit.path.is_dir():
            _assemble(here, toolkit, say)
            cache.prune(here.toolkits, here.objects)
    return toolkit


def _assemble(here: Place, toolkit: Toolkit, say: Say) -> None:
    compiler = find_compiler()
    objects = compile_all(here, compiler, say)
    unfinished = here.folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    folder = lay_out(unfinished).libraries
    for library in LIBRARIES:
        execute(compiler.link(library, objects[library.soname], folder, here.pair), f"linking {library.soname}")
    here.toolkits.mkdir(exist_ok=True)
    unfinished.rename(toolkit.path)
