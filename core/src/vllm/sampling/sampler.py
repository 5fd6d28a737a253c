"""Owns the op "sampler": logits of a step's rows in, one token per row out. Stages that no row wants are skipped as a whole.

Order: raw log-probabilities; grammar; rules (allowed tokens, bad words, bias, minimum length, custom, penalties); the most likely token for
greedy rows; temperature, truncation and the draw for the others; processed log-probabilities.

Legend: N rows, V vocabulary, R rows of a part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from vllm.model_executor.custom_op import CustomOp, native_op
from vllm.sampling.draw import draw_tokens, num_levels
from vllm.sampling.logprobs import score_table
from vllm.sampling.rng import uniforms
from vllm.sampling.rules import apply_grammar
from vllm.sampling.step import SamplerOutput

if TYPE_CHECKING:
    from vllm.sampling.rows import RandomRows, SamplingRows
    from vllm.sampling.step import SamplingStep

__all__ = ["Sampler"]


@native_op("sampler")
class Sampler(CustomOp):
    """Chooses the tokens of one step. Deterministic: draws are functions of (seed, position)."""

    def __init__(self, logprobs_mode: str = "raw_logprobs") -> None:
        super().__init__()
        self._mode = logprobs_mode
        self._reports_raw = logprobs_mode.startswith("raw")

    def forward_native(self, logits_NV: torch.Tensor, rows: SamplingRows, step: SamplingStep) -> SamplerOutput:
        """Args: logits in the model's dtype, owned by the sampler from now on; the rows' parameters; the step's facts."""
        if rows.is_plain_greedy and step.grammar is None:
            return SamplerOutput(tokens_N=_most_likely(logits_NV.to(torch.float32)))
        logits_NV = logits_NV.to(torch.float32)
        raw_RV = self._scores(logits_NV, rows) if self._reports_raw else None
        logits_NV = self._apply_rules(logits_NV, rows, step)
        tokens_N = (
            _most_likely(logits_NV) if rows.num_greedy else logits_NV.new_empty(len(logits_NV), dtype=torch.int64)
        )
        if rows.random is not None:
            logits_NV = self._draw(logits_NV, tokens_N, rows, step)
        if rows.penalties is not None:
            rows.penalties.count(tokens_N)
        scores_RV = raw_RV if self._reports_raw else self._scores(logits_NV, rows)
        if scores_RV is None or rows.logprobs is None:
            return SamplerOutput(tokens_N=tokens_N)
        return SamplerOutput(tokens_N=tokens_N, logprobs=rows.logprobs.report(scores_RV, tokens_N))

    def _scores(self, logits_NV: torch.Tensor, rows: SamplingRows) -> torch.Tensor | None:
        if rows.logprobs is None:
            return None
        return score_table(logits_NV[rows.logprobs.row_index_R], self._mode)

    def _apply_rules(self, logits_NV: torch.Tensor, rows: SamplingRows, step: SamplingStep) -> torch.Tensor:
        if step.grammar is not None:
            logits_NV = apply_grammar(logits_NV, step.grammar)
        for rule in rows.rules:
            logits_NV = rule.apply(logits_NV, step)
        return logits_NV

    def _draw(
        self, logits_NV: torch.Tensor, tokens_N: torch.Tensor, rows: SamplingRows, step: SamplingStep
    ) -> torch.Tensor:
        """Fill in the random rows' tokens; returns the logits that processed log-probabilities are about."""
        random = rows.random
        assert random is not None
        logits_RV = self._scaled(logits_NV, rows, random, step)
        logits_RV = random.truncation.apply(logits_RV)
        levels = num_levels(logits_RV.shape[1])
        uniform_RL = torch.from_numpy(uniforms(random.seed_R, step.position_N[random.row_R], levels))
        drawn_R = draw_tokens(logits_RV, uniform_RL.to(logits_RV.device))
        if random.index_R is None:
            tokens_N.copy_(drawn_R)
            return logits_RV
        tokens_N[random.index_R] = drawn_R
        if rows.logprobs is not None and not self._reports_raw:
            logits_NV[random.index_R] = logits_RV
        return logits_NV

    def _scaled(
        self, logits_NV: torch.Tensor, rows: SamplingRows, random: RandomRows, step: SamplingStep
    ) -> torch.Tensor:
        """The random rows' logits with temperature, and custom rules where there are any."""
        logits_RV = logits_NV if random.index_R is None else logits_NV[random.index_R]
        logits_RV = logits_RV / random.temperature_R1
        if not rows.after_temperature:
            return logits_RV
        all_NV = logits_RV if random.index_R is None else logits_NV.index_copy(0, random.index_R, logits_RV)
        for rule in rows.after_temperature:
            all_NV = rule.apply(all_NV, step)
        return all_NV if random.index_R is None else all_NV[random.index_R]


def _most_likely(logits_NV: torch.Tensor) -> torch.Tensor:
    """[N] the first of the largest logits. On CPUs `max` beats `argmax` (measured: 1.1 ms, not 2.8, for 256 x 4096)."""
    return logits_NV.max(-1).indices
