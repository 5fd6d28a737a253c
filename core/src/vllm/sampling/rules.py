"""Owns the logit rules of single requests: allowed tokens, grammar masks, bad words, logit bias, minimum length.

Each rule holds the rows that want it and nothing of the others, so that a batch without such rows does not pay.

Legend: N sampling rows, R rows of the rule, E entries (row, token), V vocabulary, G grammar rows, W mask words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from vllm.messages import Int32Array, Int64Array
    from vllm.sampling.step import GrammarMask, SamplingStep

__all__ = ["AllowedTokens", "BadWords", "LogitBias", "MinTokens", "apply_grammar"]

NO_TOKEN = float("-inf")


class AllowedTokens:
    """Only these tokens may come."""

    def __init__(self, tokens_of_row: Mapping[int, Sequence[int]], vocab_size: int, device: torch.device) -> None:
        self._row_R = torch.tensor(list(tokens_of_row), dtype=torch.int64, device=device)
        self._forbidden_RV = torch.ones(len(tokens_of_row), vocab_size, dtype=torch.bool, device=device)
        for index, tokens in enumerate(tokens_of_row.values()):
            self._forbidden_RV[index, list(tokens)] = False

    def apply(self, logits_NV: torch.Tensor, step: SamplingStep) -> torch.Tensor:
        """-inf everywhere else."""
        logits_NV[self._row_R] = logits_NV[self._row_R].masked_fill(self._forbidden_RV, NO_TOKEN)
        return logits_NV


class LogitBias:
    """A number added to the logit of single tokens."""

    def __init__(self, bias_of_row: Mapping[int, Mapping[int, float]], device: torch.device) -> None:
        entries = [(row, token, value) for row, bias in bias_of_row.items() for token, value in bias.items()]
        rows, tokens, values = zip(*entries, strict=True)
        self._index_EE = tuple(torch.tensor(ids, dtype=torch.int64, device=device) for ids in (rows, tokens))
        self._value_E = torch.tensor(values, dtype=torch.float32, device=device)

    def apply(self, logits_NV: torch.Tensor, step: SamplingStep) -> torch.Tensor:
        """Each entry once."""
        return logits_NV.index_put_(self._index_EE, self._value_E, accumulate=True)


@dataclass(frozen=True, slots=True)
class MinTokens:
    """No stop token before the request has so many outputs, unless the grammar permits nothing else."""

    row_R: Int64Array
    min_tokens_R: Int64Array
    stop_ids_of_row: tuple[tuple[int, ...], ...]
    """By index in row_R."""

    def apply(self, logits_NV: torch.Tensor, step: SamplingStep) -> torch.Tensor:
        """-inf for the stop tokens of the rows that are still too short."""
        too_short = np.flatnonzero(step.num_outputs()[self.row_R] < self.min_tokens_R)
        entries = [(int(self.row_R[index]), token) for index in too_short for token in self.stop_ids_of_row[index]]
        if step.grammar is None or not entries:
            return _forbid(logits_NV, entries)
        row_R = torch.from_numpy(self.row_R[too_short]).to(logits_NV.device)
        before_RV = logits_NV[row_R]
        forbidden_RV = _forbid(logits_NV, entries)[row_R]
        # Where a grammar leaves nothing but the end, the end must come.
        is_over_R1 = forbidden_RV.amax(-1, keepdim=True) == NO_TOKEN
        logits_NV[row_R] = torch.where(is_over_R1, before_RV, forbidden_RV)
        return logits_NV


@dataclass(frozen=True, slots=True)
class BadWords:
    """Token sequences that must not appear: the last token is forbidden where the outputs end in the ones before it."""

    words_of_row: Mapping[int, Sequence[Sequence[int]]]

    def apply(self, logits_NV: torch.Tensor, step: SamplingStep) -> torch.Tensor:
        """-inf for each token that would complete a word."""
        entries = (
            (row, word[-1])
            for row, words in self.words_of_row.items()
            for word in words
            if _ends_with(step.outputs(row), word[:-1])
        )
        return _forbid(logits_NV, entries)


def apply_grammar(logits_NV: torch.Tensor, grammar: GrammarMask) -> torch.Tensor:
    """-inf for tokens whose bit is off, and for those past the mask's end."""
    vocab_size = logits_NV.shape[1]
    allowed_GV = torch.zeros(len(grammar.row_G), vocab_size, dtype=torch.bool)
    bits_GB = torch.from_numpy(_unpack(grammar.bits_GW)[:, :vocab_size])
    allowed_GV[:, : bits_GB.shape[1]] = bits_GB
    row_G = torch.from_numpy(grammar.row_G).to(logits_NV.device)
    logits_NV[row_G] = logits_NV[row_G].masked_fill(~allowed_GV.to(logits_NV.device), NO_TOKEN)
    return logits_NV


def _unpack(bits_GW: Int32Array) -> np.ndarray:
    """[G, 32 W] booleans, token order."""
    little_endian = np.ascontiguousarray(bits_GW).astype("<i4", copy=False)
    return np.unpackbits(little_endian.view(np.uint8), axis=1, bitorder="little").astype(bool)


def _ends_with(tokens: Int32Array, suffix: Sequence[int]) -> bool:
    return len(suffix) == 0 or (len(tokens) >= len(suffix) and tokens[-len(suffix) :].tolist() == list(suffix))


def _forbid(logits_NV: torch.Tensor, entries: Iterable[tuple[int, int]]) -> torch.Tensor:
    pairs = list(entries)
    if pairs:
        rows, tokens = torch.tensor(pairs, dtype=torch.int64, device=logits_NV.device).unbind(1)
        logits_NV[rows, tokens] = NO_TOKEN
    return logits_NV
