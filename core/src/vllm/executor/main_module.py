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

from vllm.errors import ConfigError, VllmError

__all__ = ["find_in_main", "main_path", "refuse_engine_of_rerun", "use_main"]

MAIN_NAME = "__mp_main__"
"""What multiprocessing calls the script in its children; in the parent it is an alias of `__main__`, so that objects travel back."""

_path: str | None = None
_is_rerunning = False


def main_path() -> str | None:
    """File of this process's script; None in a notebook or an interactive session."""
    return getattr(sys.modules["__main__"], "__file__", None)


def use_main(path: str | None) -> None:
    """In a worker: where the engine's script lies."""
    global _path
    _path = path


def refuse_engine_of_rerun() -> None:
    """Raise ConfigError in a worker that is running the script: an engine started there would start workers, and so on for ever."""
    if _is_rerunning:
        raise ConfigError(
            f"The script {_path} starts an engine when a worker process runs it again.",
            cause="the engine was given a function or class that the script defines, and a worker finds it only by running the script",
            remedy="put what starts the engine under `if __name__ == '__main__':`, or the function or class into a module",
        )


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
    module.__dict__.update(_rerun(_path))
    sys.modules[MAIN_NAME] = module
    return module


def _rerun(path: str) -> dict[str, Any]:
    """The names that the script defines."""
    global _is_rerunning
    _is_rerunning = True
    try:
        return runpy.run_path(path, run_name=MAIN_NAME)
    finally:
        _is_rerunning = False
