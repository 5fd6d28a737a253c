"""The rooms of core that need no torch; run where torch is not installed. (Their tests, and the Pythons: ci/matrix.toml.)

`python -m ci.notorch` imports every module of those rooms and says which one wanted torch.
"""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Iterator, Sequence
from importlib.util import find_spec

__all__ = ["ROOMS", "check", "modules_of"]

ROOMS = (
    "vllm.config",
    "vllm.deprecation",
    "vllm.engine.kv_cache",
    "vllm.engine.scheduler",
    "vllm.envs",
    "vllm.errors",
    "vllm.inputs",
    "vllm.logger",
    "vllm.messages",
    "vllm.outputs",
    "vllm.plugins",
    "vllm.sampling_params",
)


def modules_of(room: str) -> Iterator[str]:
    """The room's own name and those of all modules below it."""
    yield room
    paths: Sequence[str] = getattr(importlib.import_module(room), "__path__", ())
    yield from (info.name for info in pkgutil.walk_packages(paths, prefix=f"{room}."))


def check(rooms: Sequence[str]) -> list[str]:
    """Imports the rooms' modules and returns a line for each that failed, or that loaded torch."""
    failures = []
    for name in (module for room in rooms for module in modules_of(room)):
        try:
            importlib.import_module(name)
        except ImportError as error:
            failures.append(f"{name}: {error}")
        if "torch" in sys.modules:
            return [*failures, f"{name} loaded torch"]
    return failures


if __name__ == "__main__":
    if find_spec("torch") is not None:
        sys.exit("torch is installed here, so nothing would be proven")
    found = check(ROOMS)
    print(*found, sep="\n")
    sys.exit(1 if found else 0)
