"""Owns the simulated runtime's interface for Python: the C functions at the end of `sources/common/simulator.h`."""

from __future__ import annotations

import ctypes
from functools import cache
from pathlib import Path

from cann_sim.errors import NotActive
from cann_sim.libraries import RUNTIME

__all__ = ["Runtime", "of_this_process", "of_toolkit"]

_WITHOUT_ARGUMENTS = ("cann_sim_counters", "cann_sim_settings")
_WITH_RULES = ("cann_sim_set_faults", "cann_sim_check_faults")


class Runtime:
    """What the runtime library answers; texts are JSON where not said otherwise."""

    def __init__(self, library: ctypes.CDLL) -> None:
        self._library = library
        for name in _WITHOUT_ARGUMENTS:
            getattr(library, name).restype = ctypes.c_char_p
        for name in _WITH_RULES:
            getattr(library, name).restype = ctypes.c_char_p
            getattr(library, name).argtypes = (ctypes.c_char_p,)

    def counters(self) -> str:
        return self._text("cann_sim_counters")

    def reset_counters(self) -> None:
        self._library.cann_sim_reset_counters()

    def settings(self) -> str:
        return self._text("cann_sim_settings")

    def check_faults(self, rules: str) -> str:
        """What is wrong with the rules in one sentence; empty where they can be read."""
        return self._text("cann_sim_check_faults", rules)

    def set_faults(self, rules: str) -> str:
        """As `check_faults`; rules that can be read replace those in force."""
        return self._text("cann_sim_set_faults", rules)

    def _text(self, function: str, *arguments: str) -> str:
        answer: bytes = getattr(self._library, function)(*(text.encode() for text in arguments))
        return answer.decode()


def of_toolkit(libraries: Path) -> Runtime:
    """The runtime that lies in a toolkit, loaded for its own sake: no device is touched."""
    return Runtime(ctypes.CDLL(str(libraries / RUNTIME)))


@cache
def of_this_process() -> Runtime:
    """The runtime that torch_npu uses here; raises `NotActive` where this process does not run on the simulator."""
    remedy = "start it with `cann-sim run -- CMD`, or call cann_sim.activate() before `import torch`"
    try:
        library = ctypes.CDLL(RUNTIME)
    except OSError as absent:
        raise NotActive(f"this process does not run on the simulator: {absent}", remedy=remedy) from absent
    try:
        library.cann_sim_counters  # noqa: B018 - looks the symbol up
    except AttributeError as real:
        raise NotActive(f"the {RUNTIME} of this process is another one, not the simulator's", remedy=remedy) from real
    return Runtime(library)
