"""Owns what `cann-sim doctor` tells: the pair of wheels, the compiler, what is built, and what is simulated."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from cann_sim.compiler import find_compiler
from cann_sim.errors import CannSimError
from cann_sim.libraries import LIBRARIES
from cann_sim.place import place
from cann_sim.runtime import of_toolkit
from cann_sim.toolkit import CANN_VERSION, Toolkit

__all__ = ["operators", "report"]

_WORKSPACE = "GetWorkspaceSize"


def operators(library: Path) -> tuple[str, ...]:
    """The operators that a library exports, by the names of their launch functions; () where there is no `nm`."""
    nm = shutil.which("nm")
    if nm is None:
        return ()
    done = subprocess.run([nm, "-D", "--defined-only", str(library)], capture_output=True, text=True, check=True)
    names = {line.rpartition(" ")[2].partition("@")[0] for line in done.stdout.splitlines()}
    launched = {name for name in names if name.startswith(("aclnn", "Hccl"))}
    return tuple(sorted(name for name in launched if not name.endswith(_WORKSPACE)))


def _pair() -> Iterator[str]:
    pair = place().pair
    for wheel in (pair.torch, pair.torch_npu):
        yield f"{wheel.name:10} {wheel.version} (build {wheel.build[:8]}) in {wheel.folder}"


def _compiler() -> Iterator[str]:
    compiler = find_compiler()
    yield f"compiler   {compiler.path} {compiler.version}"


def _toolkit(listing: bool) -> Iterator[str]:
    toolkit = place().toolkit()
    if not toolkit.path.is_dir():
        yield "toolkit    not built for this pair and these sources; `cann-sim build` does it, and so does the first run"
        return
    yield f"toolkit    CANN {CANN_VERSION} in {toolkit.path}"
    yield f"settings   {of_toolkit(toolkit.libraries).settings()}"
    yield from _libraries(toolkit, listing)


def _libraries(toolkit: Toolkit, listing: bool) -> Iterator[str]:
    for library in LIBRARIES:
        names = operators(toolkit.libraries / library.soname)
        if names:
            yield f"{library.soname:10} {len(names)} functions" + ("" if listing else "; --operators lists them")
            if listing:
                yield from (f"  {name}" for name in names)


def report(*, listing: bool) -> tuple[list[str], bool]:
    """The lines to show, and whether the simulator can run here. `listing` names every operator."""
    lines: list[str] = []
    usable = True
    for part in (_pair(), _compiler(), _toolkit(listing)):
        try:
            lines.extend(part)
        except CannSimError as error:
            lines.append(str(error))
            usable = False
    return lines, usable
