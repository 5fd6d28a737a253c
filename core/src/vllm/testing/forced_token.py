"""Owns a custom logits processor for the generation laws: it leaves one token to the rows that ask for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.testing.row_values import RowValues

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from vllm.sampling_params import SamplingParams

__all__ = ["ARGUMENT", "ForcedToken"]

ARGUMENT = "forced_token"
"""Key of `SamplingParams.extra_args`."""


class ForcedToken(RowValues[int]):
    """The value is the token."""

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Everything but the token becomes impossible."""
        for row, token in self._value_of_row.items():
            logits[row, :token] = float("-inf")
            logits[row, token + 1 :] = float("-inf")
        return logits

    def _value(self, params: SamplingParams, outputs: Sequence[int]) -> int | None:
        return (params.extra_args or {}).get(ARGUMENT)
