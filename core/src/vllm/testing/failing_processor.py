"""Owns a custom logits processor for the generation laws: it raises at a row that asks for it, after some tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vllm.testing.row_values import RowValues

if TYPE_CHECKING:
    import torch

    from vllm.sampling_params import SamplingParams

__all__ = ["FAILS_AFTER", "FAILURE", "Failing"]

FAILS_AFTER = "fails_after_tokens"
"""Key of `SamplingParams.extra_args`: with so many tokens, or more, the row raises."""

FAILURE = "the law's request fails after"
"""How its errors begin."""


class Failing(RowValues[tuple[int, Sequence[int]]]):
    """The value is how many tokens are too many, and those there are."""

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Raise where a row is due."""
        for most_tokens, outputs in self._value_of_row.values():
            if len(outputs) >= most_tokens:
                raise RuntimeError(f"{FAILURE} {most_tokens} tokens")
        return logits

    def _value(self, params: SamplingParams, outputs: Sequence[int]) -> tuple[int, Sequence[int]] | None:
        most_tokens = (params.extra_args or {}).get(FAILS_AFTER)
        return None if most_tokens is None else (most_tokens, outputs)
