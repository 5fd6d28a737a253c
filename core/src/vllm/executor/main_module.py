"""Owns how a worker finds what the user's script defined: the script is run here only when something of it is asked for.

Worker processes are fresh interpreters that know nothing of the script which started the engine. So a script needs no
`if __name__ == "__main__":` around `LLM(…)`, unless it sends its own functions or classes to the workers.
"""

from __future__ import annotations

import functools
import runpy
import sys
import types
from pathlib import Path
from typing import Any

from vllm.errors import VllmError

__all__ = ["find_in_main", "main_path", "use_main"]

MAIN_NAME = "__mp_main__"
"""What multiprocessing calls the script in its children; in the parent it is an alias of `__main__`, so that objects travel back."""

_path: str | None = None


def main_path() -> str | None:
    """File of this process's script; None in a notebook or an interactive session."""
    return getattr(sys.modules["__main__"], "__file__", None)


def use_main(path: str | None) -> None:
    """In a worker: where the engine's script lies."""
    global _path
    _path = path


def find_in_main(name: str) -> Any:
    """The object that the script calls `name`, dots for what lies inside classes."""
    return functools.reduce(getattr, name.split("."), _main())


@functools.cache
def _main() -> types.ModuleType:
    if _path is None or not Path(_path).is_file():
        raise VllmError(
            "A worker process was sent a function or class that is defined in an interactive session.",
            remedy="put it into a module that can be imported, or use one worker (distributed_executor_backend='uni')",
        )
    module = types.ModuleType(MAIN_NAME)
    module.__dict__.update(runpy.run_path(_path, run_name=MAIN_NAME))
    sys.modules[MAIN_NAME] = module
    return module
