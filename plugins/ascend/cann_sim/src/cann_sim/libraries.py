"""Owns which libraries there are, as data: the name torch_npu asks for, and which folders of `sources/` go into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["LIBRARIES", "SOURCES", "Library"]

SOURCES = Path(__file__).resolve().parent / "sources"
_RUNTIME = "libascendcl.so"


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

    def headers(self) -> tuple[Path, ...]:
        """Every .h that its sources may include: its own and the seam's."""
        folders = dict.fromkeys(("common", *self.folders))
        return tuple(sorted(path for folder in folders for path in (SOURCES / folder).rglob("*.h")))


# In the order in which they are loaded: a library comes after those that it needs.
LIBRARIES = (
    Library(soname=_RUNTIME, folders=("common", "runtime")),
    Library(soname="libopapi.so", folders=("operators",), uses_torch=True, needs=(_RUNTIME,)),
    Library(soname="libhccl.so", folders=("collectives",), needs=(_RUNTIME,)),
    *(
        Library(soname=f"lib{name}.so", needs=(_RUNTIME, "libopapi.so") if name == "nnopbase" else (_RUNTIME,))
        for name in ("acl_op_compiler", "ge_runner", "graph", "acl_tdt_channel", "nnopbase")
    ),
)
