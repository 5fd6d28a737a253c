"""Builds the CPU kernels, `vllm_cpu_ref.native._kernels`; everything else about this package stands in pyproject.toml.

VLLM_CPU_REF_BUILD_NATIVE=0 leaves them out, =1 makes it an error that they cannot be built. By default they are built where
there is a C++ compiler, and without one the package runs on plain torch. One build serves every Python from 3.10 and every
torch: it uses only the stable interface of Python, and none of torch's.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sysconfig
import tempfile
from pathlib import Path

from setuptools import Extension, setup

_SWITCH = "VLLM_CPU_REF_BUILD_NATIVE"
_KERNELS = Path("src/vllm_cpu_ref/native/kernels")
_SOURCES, _HEADERS = sorted(_KERNELS.glob("*.cpp")), sorted(_KERNELS.glob("*.h"))
_COMPILE = ("-std=c++17", "-O2", "-g0", "-fopenmp", "-fno-math-errno", "-fvisibility=hidden", "-Wno-psabi")
"""Linked without OpenMP: torch has loaded its runtime before, and both must share one pool of threads."""
_MORE = {"aarch64": ("-fno-tree-forwprop",)}
"""GCC 12 stops there with an internal error at a float that is rounded to a half and read again."""


def fingerprint() -> str:
    """Of this file and all sources: the id that the built module bears, by which CI sees what it was built from."""
    files = [Path("setup.py"), *_SOURCES, *_HEADERS]
    return hashlib.sha1(b"".join(file.read_bytes() for file in files)).hexdigest()


def is_wanted() -> bool:
    """Not without a GIL: Python's stable interface does not cover that."""
    switch = os.environ.get(_SWITCH, "")
    if switch not in ("", "0", "1"):
        raise SystemExit(f"{_SWITCH} is {switch!r}: say 0 (leave the kernels out), 1 (they must be built) or nothing")
    return switch != "0" and not sysconfig.get_config_var("Py_GIL_DISABLED")


def kernels() -> Extension:
    return Extension(
        "vllm_cpu_ref.native._kernels",
        sources=[str(path) for path in _SOURCES],
        depends=[str(path) for path in _HEADERS],
        language="c++",
        define_macros=[("Py_LIMITED_API", "0x030A0000")],
        extra_compile_args=[*_COMPILE, *_MORE.get(platform.machine(), ())],
        # -lgcc, whole: what converts halves is new in GCC 12, so the libgcc of an older machine lacks it.
        extra_link_args=["-lgcc", f"-Wl,--build-id=0x{fingerprint()}"],
        py_limited_api=True,
        optional=os.environ.get(_SWITCH) != "1",
    )


# In a folder of its own for each run: a module that was deleted must not come back from what an earlier build left.
with tempfile.TemporaryDirectory() as folder:
    setup(
        ext_modules=[kernels()] if is_wanted() else [],
        options={"build": {"build_base": folder}, "bdist_wheel": {"py_limited_api": "cp310"}},
    )
