"""Owns every tolerance of the kit: one table, by dtype. A law's error is reported against its limit even where it holds.

Sixteen bits: a few units in the last place of values near one, as implementations that accumulate in fp32 leave them. Log-probabilities
of two sound bfloat16 runs of the embedded model were 0.011 apart in the mean and up to 0.37, in the tail of some thousand: so the mean
tells a wrong computation, the limit of a single one only a gross one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

__all__ = ["TOLERANCES", "Tolerance"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Tolerance:
    """Limits of one dtype."""

    attention: float
    """Of attention outputs, relative to max(1, |expected|); the oracle is fp32 on the same rounded inputs."""
    op: float
    """Of an op's outputs, relative to max(1, |expected|)."""
    logprob: float
    """Of log-probabilities of the embedded model under teacher forcing, natural logarithm. Where tokens need not be equal, they must
    agree wherever the margin of the two best exceeds twice this."""
    mean_logprob: float
    """Of the same errors' mean over a request: rounding averages out, a wrong computation does not."""
    tokens_are_equal: bool
    """Whether greedy and seeded tokens of the embedded model must be equal everywhere."""
    quantised_logprob: float
    """Like `logprob`, of the embedded model in W8A8 against a dense one that rounds alike: a sum that comes out a trifle different moves
    a rounding by a whole step, and in 16 bits every sum does."""
    quantised_mean_logprob: float
    """Of the same errors' mean over a request."""

    @property
    def quantised(self) -> Tolerance:
        """The limits of a W8A8 model of this dtype."""
        logprob, mean_logprob = self.quantised_logprob, self.quantised_mean_logprob
        return replace(self, logprob=logprob, mean_logprob=mean_logprob, tokens_are_equal=False)


TOLERANCES: Mapping[str, Tolerance] = MappingProxyType(
    {
        "float32": Tolerance(
            attention=1e-5, op=1e-5, logprob=1e-4, mean_logprob=2e-5, tokens_are_equal=True,
            quantised_logprob=0.6, quantised_mean_logprob=0.12,
        ),
        "bfloat16": Tolerance(
            attention=1e-2, op=1.6e-2, logprob=0.45, mean_logprob=0.1, tokens_are_equal=False,
            quantised_logprob=1.2, quantised_mean_logprob=0.25,
        ),
        "float16": Tolerance(
            attention=1.5e-3, op=2e-3, logprob=0.08, mean_logprob=0.015, tokens_are_equal=False,
            quantised_logprob=1.2, quantised_mean_logprob=0.25,
        ),
    }
)  # fmt: skip
