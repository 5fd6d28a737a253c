"""Owns which libraries there are, as data: the name torch_npu asks for, and which folders of `sources/` go into it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LIBRARIES", "RUNTIME", "SOURCES", "Library", "reached_headers"]

SOURCES = Path(__file__).resolve().parent / "sources"
RUNTIME = "libascendcl.so"
_QUOTED_INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)


@dataclass(frozen=True, kw_only=True, slots=True)
class Library:
    """One shared library. Without folders it is empty, and what is looked up in it is found in those that it `needs`."""

    soname: str
    folders: tuple[str, ...] = ()
    uses_torch: bool = False
    needs: tuple[str, ...] = ()

    def sources(self) -> tuple[Path, ...]:
        """Every .cpp below its folders, in a fixed order."""
        return tuple(sorted(path for folder in self.folders for path in (SOURCES / folder).rglob("*.cpp")))


# In the order in which they are loaded: a library comes after those that it needs.
LIBRARIES = (
    Library(soname=RUNTIME, folders=("common", "runtime")),
    Library(soname="libopapi.so", folders=("operators",), uses_torch=True, needs=(RUNTIME,)),
    Library(soname="libhccl.so", folders=("collectives",), needs=(RUNTIME,)),
    Library(soname="libatb.so", folders=("atb",), needs=(RUNTIME,)),
    *(
        Library(soname=f"lib{name}.so", needs=(RUNTIME, "libopapi.so") if name == "nnopbase" else (RUNTIME,))
        for name in ("acl_op_compiler", "ge_runner", "graph", "acl_tdt_channel", "nnopbase")
    ),
)


def reached_headers(source: Path) -> tuple[Path, ...]:
    """Our headers that `source` includes, directly or through another; the vendor's change only with the pair of wheels."""
    reached: dict[Path, None] = {}
    waiting = [source]
    while waiting:
        file = waiting.pop()
        for name in _QUOTED_INCLUDE.findall(file.read_text(encoding="utf-8")):
            found = next((path for path in (file.parent / name, SOURCES / name) if path.is_file()), None)
            if found and found.resolve() not in reached:
                reached[found.resolve()] = None
                waiting.append(found.resolve())
    return tuple(sorted(reached))
