"""Owns the sampler's naive twin: one row, plain Python and numpy in float64, straight from the descriptions of the parameters."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

import numpy as np

from core.tests.sampling.slots import Case
from vllm.sampling.draw import FAN_OUT, num_levels
from vllm.sampling.rng import uniforms

NO_TOKEN = -math.inf


def naive_token(logits: Sequence[float], one: Case) -> int:
    """The token that the case's request gets next."""
    row = naive_processed(logits, one)
    params = one.params
    if params.temperature == 0:
        return int(np.argmax(row))
    scaled = [value / params.temperature for value in row]
    kept = naive_truncation(scaled, params.min_p, params.top_k or len(row), params.top_p if params.top_p < 1 else 2.0)
    candidates = [value if token in kept else NO_TOKEN for token, value in enumerate(scaled)]
    position = len(one.prompt) + len(one.outputs)
    uniform = uniforms(np.array([one.seed], np.uint64), np.array([position]), num_levels(len(row)))[0]
    return naive_draw(candidates, uniform.tolist())


def naive_processed(logits: Sequence[float], one: Case) -> list[float]:
    """Logits after all rules and penalties."""
    params, row = one.params, list(logits)
    if params.allowed_token_ids:
        row = [value if token in params.allowed_token_ids else NO_TOKEN for token, value in enumerate(row)]
    for word in one.bad_words:
        *before, last = word
        if list(one.outputs[len(one.outputs) - len(before) :]) == before:
            row[last] = NO_TOKEN
    for token, bias in (params.logit_bias or {}).items():
        row[token] += bias
    if len(one.outputs) < params.min_tokens:
        for token in one.stop_token_ids:
            row[token] = NO_TOKEN
    return _penalised(row, one)


def _penalised(row: list[float], one: Case) -> list[float]:
    params, counts = one.params, Counter(one.outputs)
    for token in {*one.prompt, *one.outputs}:
        row[token] *= params.repetition_penalty if row[token] <= 0 else 1 / params.repetition_penalty
    for token, count in counts.items():
        row[token] -= params.frequency_penalty * count + params.presence_penalty
    return row


def naive_truncation(logits: list[float], min_p: float, top_k: int, top_p: float) -> set[int]:
    """The ids that stay, by the definitions: first min_p, then the k best, then the smallest nucleus that reaches top_p."""

    def probs(ids: list[int]) -> dict[int, float]:
        total = math.fsum(math.exp(logits[i]) for i in ids)
        return {i: math.exp(logits[i]) / total for i in ids}

    everything = probs(list(range(len(logits))))
    ids = [i for i, p in everything.items() if p >= min_p * max(everything.values())]
    ids = sorted(ids, key=lambda i: -logits[i])[:top_k]
    kept, reached = set(), 0.0
    for i, p in probs(ids).items():
        if reached >= top_p:
            break
        kept.add(i)
        reached += p
    return kept


def naive_draw(logits: list[float], uniform_L: list[float]) -> int:
    """The tree in words: add up the weights below each child of the node, take the first whose running sum passes the uniform."""
    best = max(logits)
    weights = [math.exp(value - best) for value in logits]
    first, span = 0, FAN_OUT ** len(uniform_L)
    for uniform in uniform_L:
        span //= FAN_OUT
        children = [math.fsum(weights[first + i * span : first + (i + 1) * span]) for i in range(FAN_OUT)]
        target, running, pick = uniform * math.fsum(children), 0.0, 0
        while running + children[pick] <= target:
            running += children[pick]
            pick += 1
        first += pick * span
    return first
