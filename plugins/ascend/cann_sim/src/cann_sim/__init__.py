"""A simulated CANN for the real torch_npu. `activate()` before `import torch`, or `cann-sim run -- CMD`.

Importing this package imports neither torch nor torch_npu.
"""

from __future__ import annotations

from cann_sim.build import build

__all__ = ["build"]
