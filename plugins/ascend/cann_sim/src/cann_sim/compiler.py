"""Owns the compiler: which g++, whether it is new enough, and the command lines for an object and for a library."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from cann_sim.errors import BuildError, CompilerMissing
from cann_sim.libraries import SOURCES, Library
from cann_sim.wheels import Pair

__all__ = ["OLDEST", "Compiler", "execute", "find_compiler"]

OLDEST = 11
_FLAGS = (
    "-std=c++20",
    "-O1",
    "-fPIC",
    "-pthread",
    "-fvisibility=hidden",
    "-Wall",
    "-Wextra",
    "-Wno-unused-parameter",
    "-Wno-maybe-uninitialized",  # g++ suspects moved-from tensors
    "-Wno-cast-function-type",
    "-D_GLIBCXX_USE_CXX11_ABI=1",
)
_LINK = ("-shared", "-pthread", "-Wl,--no-undefined", "-Wl,-rpath,$ORIGIN", "-Wl,--no-as-needed")


@dataclass(frozen=True, kw_only=True, slots=True)
class Compiler:
    """A g++ that is new enough."""

    path: str
    version: str

    def flags(self, library: Library, pair: Pair) -> tuple[str, ...]:
        vendor = (*pair.cann_includes, *(pair.torch_includes if library.uses_torch else ()))
        systems = [word for folder in vendor for word in ("-isystem", str(folder))]
        return (*_FLAGS, f"-I{SOURCES}", *systems)

    def compile(self, source: Path, library: Library, pair: Pair, *, before: Path | None) -> list[str]:
        """Source to object, still without its output; the header `before` is included before all else."""
        first = ["-include", str(before)] if before else []
        return [self.path, *self.flags(library, pair), *first, "-c", str(source)]

    def precompile(self, header: Path, library: Library, pair: Pair) -> list[str]:
        """A header to what the compiler reads faster, still without its output."""
        return [self.path, *self.flags(library, pair), "-x", "c++-header", str(header)]

    def link(self, library: Library, objects: list[Path], folder: Path, pair: Pair) -> list[str]:
        torch = [f"-L{pair.torch_libraries}", "-ltorch_cpu", "-lc10"] if library.uses_torch else []
        needed = [str(folder / soname) for soname in library.needs]
        inputs = [str(path) for path in objects] or ["-x", "c++", os.devnull, "-x", "none"]
        named = [f"-Wl,-soname,{library.soname}", "-o", str(folder / library.soname)]
        return [self.path, *_LINK, *named, *inputs, *needed, *torch, "-ldl"]


def find_compiler() -> Compiler:
    """The compiler in `CXX`, or g++; raises `CompilerMissing`."""
    name = os.environ.get("CXX") or "g++"
    path = shutil.which(name)
    remedy = f"install g++ {OLDEST} or newer (Debian: apt-get install g++), or name one in CXX"
    if path is None:
        raise CompilerMissing(f"there is no C++ compiler {name!r} on PATH", remedy=remedy)
    done = subprocess.run([path, "-dumpfullversion"], capture_output=True, text=True, check=False)
    version = done.stdout.strip()
    found = re.match(r"\d+", version)
    if found is None or int(found[0]) < OLDEST:
        raise CompilerMissing(f"{path} is version {version or 'unknown'}, too old: C++20 is needed", remedy=remedy)
    return Compiler(path=path, version=version)


def execute(command: list[str], what: str) -> str:
    """Run the compiler; gives its warnings, raises `BuildError` with its whole output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(
            f"{what} failed with exit status {done.returncode}:\n{done.stderr}",
            cause="the installed pair of wheels has other headers than the one cann-sim is written for, or "
            "the machine ran out of memory or disk",
            remedy=f"the command was: {' '.join(command)}",
        )
    return done.stderr
