"""Owns the compiled modules of packages: whether a build must make them, and what one was built from.

Where a package is installed editable, its compiled module lies in `src`, and one build serves every environment and Python.
"""

from __future__ import annotations

import hashlib
from types import MappingProxyType

from ci.packages import Package

__all__ = ["BUILT", "LEFT_OUT", "is_current"]

_SWITCH = "VLLM_CPU_REF_BUILD_NATIVE"
BUILT = MappingProxyType({_SWITCH: "1"})
"""For a build that fails where the module cannot be compiled; by default it would go on without."""
LEFT_OUT = MappingProxyType({_SWITCH: "0"})


def is_current(entry: Package) -> bool:
    """Whether the module in `src`, if the package has one, was built from the sources as they are now."""
    if entry.extension is None:
        return True
    module = entry.path / "src" / entry.extension
    return module.is_file() and _fingerprint(entry, entry.extension) in module.read_bytes()


def _fingerprint(entry: Package, extension: str) -> bytes:
    """What the package's setup.py writes into the module as its build id."""
    kernels = (entry.path / "src" / extension).parent / "kernels"
    files = [entry.path / "setup.py", *sorted(kernels.glob("*.cpp")), *sorted(kernels.glob("*.h"))]
    return hashlib.sha1(b"".join(file.read_bytes() for file in files)).digest()
