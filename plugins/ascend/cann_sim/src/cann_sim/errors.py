"""Owns the errors of this package: each says what happened, the likely cause and the remedy."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = [
    "BuildError",
    "CannSimError",
    "CompilerMissing",
    "FaultRuleError",
    "NotActive",
    "PairError",
    "SettingError",
    "TooLate",
]


class CannSimError(Exception):
    """Base of all errors raised here; `str(error)` is the whole lesson."""

    def __init__(self, what: str, *, cause: str = "", remedy: str = "", candidates: Iterable[str] = ()) -> None:
        names = ", ".join(candidates)
        parts = (("Likely cause", cause), ("Remedy", remedy), ("Did you mean", names and f"{names}?"))
        super().__init__("\n".join([what, *(f"  {label}: {text}" for label, text in parts if text)]))
        self.what = what


class PairError(CannSimError):
    """torch or torch_npu is missing, or the two do not belong together."""


class CompilerMissing(CannSimError):
    """There is no g++, or it is too old."""


class BuildError(CannSimError):
    """The compiler or the linker refused our sources."""


class SettingError(CannSimError, ValueError):
    """An option or a `CANN_SIM_*` variable has a value that means nothing."""


class FaultRuleError(SettingError):
    """A fault rule cannot be read."""


class TooLate(CannSimError):
    """The simulator has to be there before torch_npu is."""


class NotActive(CannSimError):
    """This process does not run on the simulator."""
