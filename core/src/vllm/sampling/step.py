"""Owns what the sampler learns of one step beside the logits: positions, the sequences so far, grammar masks; and what it gives back.

Legend: N sampling rows in batch order, S slots, G rows with a grammar, W mask words, R rows, K log-probabilities per row, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

if TYPE_CHECKING:
    import torch

    from vllm.messages import Int32Array, Int64Array, SampledLogprobs

__all__ = ["GrammarMask", "LogitRule", "SamplerOutput", "SamplingStep"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GrammarMask:
    """Allowed-token bits of the rows that a grammar constrains."""

    row_G: Int64Array
    """Index among the N sampling rows."""
    bits_GW: Int32Array
    """Bit t of word w allows token 32 w + t."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingStep:
    """One step's sampling rows. The arrays belong to the runner: read, do not keep."""

    slots_N: Int32Array
    position_N: Int64Array
    """Index in the sequence of the token to sample = number of known tokens."""
    token_ids_SL: Int32Array
    """Known tokens by slot; row slots_N[n] is valid up to position_N[n]."""
    num_prompt_S: Int64Array
    """Prompt tokens by slot."""
    grammar: GrammarMask | None = None

    def outputs(self, row: int) -> Int32Array:
        """The tokens that the row's request has generated so far (a view)."""
        slot = self.slots_N[row]
        return self.token_ids_SL[slot, self.num_prompt_S[slot] : self.position_N[row]]

    def num_outputs(self) -> Int64Array:
        """[N] tokens generated so far."""
        return self.position_N - self.num_prompt_S[self.slots_N]


class LogitRule(Protocol):
    """Something that changes logits before the token is chosen. Made once for a set of rows, applied at every step of it."""

    def apply(self, logits_NV: torch.Tensor, step: SamplingStep) -> torch.Tensor:
        """The new logits (float32); may work in place."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplerOutput:
    """Tokens on the device, log-probabilities on the host."""

    tokens_N: torch.Tensor
    """int64."""
    logprobs: SampledLogprobs | None = None


EMPTY_ROWS = np.empty(0, np.int64)
