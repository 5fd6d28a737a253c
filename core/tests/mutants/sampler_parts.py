"""Owns samplers with one fault each. Legend: N rows, V vocabulary, R rows of a part."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from vllm.sampling.rows import RandomRows, SamplingRows
from vllm.sampling.sampler import Sampler
from vllm.sampling.step import SamplerOutput, SamplingStep


class Misreading(Sampler):
    """Sound but for what a subclass overrides: how the rows or the step are read."""

    def rows(self, rows: SamplingRows) -> SamplingRows:
        return rows if rows.random is None else replace(rows, random=self.random(rows.random))

    def random(self, random: RandomRows) -> RandomRows:
        return random

    def step(self, step: SamplingStep) -> SamplingStep:
        return step

    def forward(self, logits_NV: torch.Tensor, rows: SamplingRows, step: SamplingStep) -> SamplerOutput:
        return self.forward_native(logits_NV, self.rows(rows), self.step(step))


class IgnoresSeed(Misreading):
    def random(self, random: RandomRows) -> RandomRows:
        return replace(random, seed_R=random.seed_R * 0)


class IgnoresTemperature(Misreading):
    def random(self, random: RandomRows) -> RandomRows:
        return replace(random, temperature_R1=torch.ones_like(random.temperature_R1))


class IgnoresTopK(Misreading):
    def random(self, random: RandomRows) -> RandomRows:
        return replace(random, truncation=replace(random.truncation, top_k_R1=None))


class IgnoresMinP(Misreading):
    def random(self, random: RandomRows) -> RandomRows:
        return replace(random, truncation=replace(random.truncation, min_p_R1=None))


class IgnoresPosition(Misreading):
    def _draw(self, logits_NV: Any, tokens_N: Any, rows: Any, step: SamplingStep) -> torch.Tensor:
        return super()._draw(logits_NV, tokens_N, rows, replace(step, position_N=step.position_N * 0))


class IgnoresPenalties(Misreading):
    def rows(self, rows: SamplingRows) -> SamplingRows:
        return replace(rows, penalties=None, rules=tuple(rule for rule in rows.rules if rule is not rows.penalties))


class IgnoresRules(Misreading):
    def rows(self, rows: SamplingRows) -> SamplingRows:
        return replace(rows, rules=tuple(rule for rule in rows.rules if rule is rows.penalties))


class IgnoresGrammar(Misreading):
    def step(self, step: SamplingStep) -> SamplingStep:
        return replace(step, grammar=None)


class MisplacesGrammar(Misreading):
    def step(self, step: SamplingStep) -> SamplingStep:
        grammar = step.grammar
        return step if grammar is None else replace(step, grammar=replace(grammar, row_G=grammar.row_G[::-1].copy()))


class LastOfEqual(Misreading):
    def forward(self, logits_NV: torch.Tensor, rows: SamplingRows, step: SamplingStep) -> SamplerOutput:
        if not rows.is_plain_greedy or step.grammar is not None:
            return super().forward(logits_NV, rows, step)
        return SamplerOutput(tokens_N=logits_NV.shape[1] - 1 - logits_NV.flip(-1).argmax(-1))


class UnnormalisedScores(Misreading):
    def _scores(self, logits_NV: torch.Tensor, rows: SamplingRows) -> torch.Tensor | None:
        return None if rows.logprobs is None else logits_NV[rows.logprobs.row_index_R]
