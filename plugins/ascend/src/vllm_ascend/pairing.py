"""Owns which versions of torch, torch_npu and CANN fit each other. No torch.

torch_npu is compiled against one torch, the one with the same X.Y.Z, and calls into CANN, whose release it wants at least as new as itself.
Source: the compatibility table of Ascend/pytorch (COMPATIBILITY.md), and for releases that have no row yet the notes in their wheel.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["CANN_OF", "cann_mismatch", "release", "torch_mismatch"]

CANN_OF: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "2.13.0": ("8.5", "9.0", "9.1"),
        "2.12.0": ("8.5", "9.1"),
        "2.11.0": ("8.5", "9.1"),
        "2.10.0": ("8.5", "9.0"),
        "2.10.0.post4": ("9.1",),
        "2.9.0": ("8.5",),
        "2.9.0.post2": ("9.0",),
        "2.9.0.post6": ("9.1",),
        "2.8.0": ("8.3",),
        "2.8.0.post2": ("8.5",),
        "2.8.0.post4": ("9.0",),
    }
)
"""torch_npu -> the releases of CANN (major.minor) it runs on. A later `.postN` than those listed counts as the one before it."""


def release(version: str) -> str:
    """X.Y.Z of a version: "2.13.0" of "2.13.0+cpu", "2.9.0" of "2.9.0.post2"."""
    return ".".join(re.findall(r"\d+", version)[:3])


def torch_mismatch(torch: str, torch_npu: str) -> tuple[str, str] | None:
    """(reason, remedy) where the two wheels do not fit each other."""
    if release(torch) == release(torch_npu):
        return None
    reason = f"torch_npu {torch_npu} is made for torch {release(torch_npu)}, but torch {torch} is installed"
    return reason, f"pip install --no-deps torch-npu=={release(torch)}, or torch=={release(torch_npu)}"


def cann_mismatch(torch_npu: str, cann: str) -> tuple[str, str] | None:
    """(reason, remedy) where torch_npu does not run on this CANN. A torch_npu that is not in the table may run on any."""
    wanted = _row(torch_npu)
    if wanted is None or _minor(cann) in wanted:
        return None
    fitting = [version for version, releases in CANN_OF.items() if _minor(cann) in releases]
    reason = f"torch_npu {torch_npu} runs on CANN {' or '.join(wanted)}, but the toolkit found is CANN {cann}"
    other = f", or for this toolkit torch-npu=={fitting[0]} with torch=={release(fitting[0])}" if fitting else ""
    return reason, f"install CANN {wanted[-1]}{other}"


def _row(torch_npu: str) -> tuple[str, ...] | None:
    """The last row of the same X.Y.Z that is not later."""
    rows = [
        (_post(version), releases) for version, releases in CANN_OF.items() if release(version) == release(torch_npu)
    ]
    earlier = [row for row in rows if row[0] <= _post(torch_npu)]
    return max(earlier)[1] if earlier else None


def _post(version: str) -> int:
    found = re.search(r"\.post(\d+)", version)
    return int(found[1]) if found else 0


def _minor(cann: str) -> str:
    """ "8.5" of "8.5.0" and of "8.5.RC1"."""
    return ".".join(cann.split(".")[:2])
