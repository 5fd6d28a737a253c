"""Owns putting a process on the simulator: the variables that lead to the toolkit, and, for this very process, its libraries.

A fresh process needs the variables only (`environment`): its loader reads `LD_LIBRARY_PATH`, exactly as with a real
toolkit's `set_env.sh`, and hands it on to its children. A process that already runs has read it: `activate` loads the
libraries, by path, and sets the variables for its children.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from cann_sim import settings
from cann_sim.build import Say, build, built
from cann_sim.errors import TooLate
from cann_sim.faults import checked_rules
from cann_sim.libraries import LIBRARIES, RUNTIME
from cann_sim.place import place
from cann_sim.runtime import of_toolkit
from cann_sim.toolkit import Toolkit

__all__ = ["activate", "environment"]

_IN_TIME = "call cann_sim.activate() first, before `import torch`, or start the process with `cann-sim run -- CMD`"


def _say(line: str) -> None:
    print(f"cann-sim: {line}", file=sys.stderr, flush=True)


def _toolkit(say: Say) -> Toolkit:
    toolkit = built()
    if toolkit is None:
        say("the simulator is compiled for the installed torch and torch_npu, once")
        toolkit = build(say=say)
    return toolkit


def environment(environ: Mapping[str, str], options: Mapping[str, object], say: Say = _say) -> dict[str, str]:
    """What to set beside `environ` for a process on the simulator, compiled first where it is not; `options` win over variables.

    Raises:
        SettingError, FaultRuleError: a value means nothing.
        PairError, CompilerMissing, BuildError: there is no simulator to run on.
    """
    values = settings.checked(environ) | settings.given(options)
    toolkit = _toolkit(say)
    if rules := values.get(f"{settings.PREFIX}FAULTS"):
        checked_rules(rules, of_toolkit(toolkit.libraries))
    return toolkit.variables(environ) | values


def activate(**options: object) -> None:
    """Puts this process and its children on the simulator. Call it before `import torch`; a second call changes nothing.

    `options` are the settings of `cann-sim run` by name: `activate(devices=2, hbm_bytes="2GiB", streams="adversarial:7")`.

    Raises:
        TooLate: torch_npu is imported already, or the process has loaded another CANN.
        SettingError, PairError, BuildError, ...: as `environment`.
    """
    loaded = _loaded_runtime()
    if loaded is None and "torch_npu" in sys.modules:
        raise TooLate("torch_npu is imported already", remedy=_IN_TIME)
    variables = environment(os.environ, options)
    libraries = Path(variables["ASCEND_HOME_PATH"]) / "lib64"
    if loaded == libraries / RUNTIME:
        return
    if loaded is not None:
        raise TooLate(f"this process has loaded {loaded} already", remedy=_IN_TIME)
    os.environ.update(variables)
    if "torch" not in sys.modules:  # libopapi needs these two, which its own folder does not hold
        for name in ("libc10.so", "libtorch_cpu.so"):
            ctypes.CDLL(str(place().pair.torch_libraries / name))
    for library in LIBRARIES:
        ctypes.CDLL(str(libraries / library.soname), mode=ctypes.RTLD_GLOBAL)


def _loaded_runtime() -> Path | None:
    """The runtime library that is mapped into this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = line.rpartition(" ")[2]
        if path.endswith("/" + RUNTIME):
            return Path(path)
    return None
