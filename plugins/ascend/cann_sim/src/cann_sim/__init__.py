"""A simulated CANN for the real torch_npu: call `activate()` before `import torch`, or start with `cann-sim run -- CMD`.

Importing this package imports neither torch nor torch_npu, and changes nothing.
"""

from __future__ import annotations

from cann_sim.activation import activate, environment
from cann_sim.build import build
from cann_sim.counters import Counters, counters, counting, reset_counters
from cann_sim.errors import (
    BuildError,
    CannSimError,
    CompilerMissing,
    FaultRuleError,
    NotActive,
    PairError,
    SettingError,
    TooLate,
)
from cann_sim.faults import faults, set_faults

__all__ = [
    "BuildError",
    "CannSimError",
    "CompilerMissing",
    "Counters",
    "FaultRuleError",
    "NotActive",
    "PairError",
    "SettingError",
    "TooLate",
    "activate",
    "build",
    "counters",
    "counting",
    "environment",
    "faults",
    "reset_counters",
    "set_faults",
]
