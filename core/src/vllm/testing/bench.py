"""Owns what a law works with: a platform, a dtype, comparisons that keep what they measured.

Legend: no shapes here; comparisons take any tensors of equal shape.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from vllm.testing.law import LawBroken
from vllm.testing.report import Measurement
from vllm.testing.tolerances import TOLERANCES, Tolerance

if TYPE_CHECKING:
    from vllm.platforms.interface import Platform
    from vllm.testing.workplace import Workplace

__all__ = ["Bench"]


@dataclass
class Bench:
    """Handed to every law. A new one per law and dtype; what is expensive lives in the workplace, which laws share."""

    workplace: Workplace
    dtype_name: str
    """For laws that hold once for all dtypes: the platform's best one that the kit knows."""
    limits: Tolerance | None = None
    """Instead of the dtype's, where a law says so."""
    quick: bool = False
    measurements: list[Measurement] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    """What a law that holds could not look at, and why; reports show it."""

    @property
    def platform(self) -> Platform:
        """The platform under test."""
        return self.workplace.platform

    @property
    def device(self) -> torch.device:
        """The platform's first device, ready for work."""
        return self.workplace.device

    @property
    def dtype(self) -> torch.dtype:
        """The dtype under test."""
        dtype: torch.dtype = getattr(torch, self.dtype_name)
        return dtype

    @property
    def tolerance(self) -> Tolerance:
        """The limits in force: that dtype's, unless the law has others."""
        return self.limits or TOLERANCES[self.dtype_name]

    # -- comparisons ------------------------------------------------------------------------------------------------------------

    def holds(self, condition: object, otherwise: str) -> None:
        """Raise LawBroken with the sentence `otherwise` unless `condition`."""
        if not condition:
            raise LawBroken(otherwise)

    def equal(self, what: str, found: Any, expected: Any) -> None:
        """Raise LawBroken unless the two are equal."""
        self.holds(found == expected, f"{what}: found {_short(found)}, expected {_short(expected)}")

    def within(self, what: str, error: float, limit: float, hint: str = "") -> None:
        """Keep the measurement; raise LawBroken if `error` is past `limit` (or is no number)."""
        self.measurements.append(Measurement(what=what, error=float(error), limit=limit))
        self.holds(error <= limit, f"{what}: the error is {error:.3g}, the limit {limit:.3g}" + (hint and f"; {hint}"))

    def close(
        self, what: str, found: torch.Tensor, expected: torch.Tensor, limit: float, *, relative: bool = False
    ) -> None:
        """Raise LawBroken unless shapes are equal and every element is within `limit`; relative to max(1, |expected|) if said."""
        self.equal(f"{what}: shape", tuple(found.shape), tuple(expected.shape))
        if not found.numel():
            return
        found, expected = found.detach().to("cpu", torch.float32), expected.detach().to("cpu", torch.float32)
        error = (found - expected).abs()
        if relative:
            error = error / expected.abs().clamp(min=1.0)
        error = error.nan_to_num(nan=float("inf"), posinf=float("inf"))
        worst = int(error.argmax())
        place = tuple(int(index) for index in torch.unravel_index(torch.tensor(worst), error.shape))
        hint = f"worst at {place}: found {found.flatten()[worst]:.6g}, expected {expected.flatten()[worst]:.6g}"
        self.within(what, float(error.flatten()[worst]), limit, hint)


def _short(value: Any, longest: int = 200) -> str:
    text = repr(value)
    return text if len(text) <= longest else f"{text[:longest]}…"
