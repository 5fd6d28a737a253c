"""The names of the mutants, apart from their classes, which import torch_npu."""

from __future__ import annotations

__all__ = ["MUTANT_NAMES"]

MUTANT_NAMES = (
    "MissingStreamWait",
    "WrongBlockSize",
    "ReadBeforeCopy",
    "OverwrittenBeforeCopy",
    "StaleLengths",
    "StaleBlockTable",
)
