"""Owns two samplers side by side for the sampler's laws: the platform's on its device, the native one on the host, on equal requests.

Legend: N rows, S slots, L positions, V vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vllm.messages import NewSlot
from vllm.model_executor.custom_op import CustomOp, OpSet, native_ops
from vllm.sampling.rows import SamplingSlots
from vllm.sampling.step import GrammarMask, SamplerOutput, SamplingStep
from vllm.sampling_params import SamplingParams

if TYPE_CHECKING:
    from vllm.testing.bench import Bench

__all__ = ["VOCAB", "Drawing", "Table", "compare_steps"]

VOCAB = 700
"""More than one level of the draw's tree, and no multiple of anything."""
_LONGEST = 64


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """One request in the middle of its generation."""

    params: SamplingParams
    prompt: tuple[int, ...] = (1, 2, 3, 2)
    outputs: tuple[int, ...] = ()
    seed: int = 0
    stop_token_ids: tuple[int, ...] = ()
    bad_words: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, *, seed: int = 0, outputs: tuple[int, ...] = (), **params: Any) -> Drawing:
        """From SamplingParams' fields; greedy if none is given."""
        return cls(params=SamplingParams(**{"temperature": 0.0, **params}), seed=seed, outputs=outputs)


class Table:
    """Slots and a sampler on one device; request i sits in slot 2 i + 1."""

    def __init__(self, sampler: CustomOp, requests: Sequence[Drawing], device: torch.device) -> None:
        num_slots = 2 * len(requests) + 2
        self._sampler, self._device = sampler, device
        self._slots = SamplingSlots(num_slots, VOCAB, device)
        self._token_ids_SL = np.zeros((num_slots, _LONGEST), np.int32)
        self._num_prompt_S = np.zeros(num_slots, np.int64)
        self._num_known_S = np.zeros(num_slots, np.int64)
        self._slots_N = np.arange(len(requests), dtype=np.int32) * 2 + 1
        for slot, request in zip(self._slots_N.tolist(), requests, strict=True):
            self._seat(slot, request)

    def _seat(self, slot: int, request: Drawing) -> None:
        tokens = np.array([*request.prompt, *request.outputs], np.int32)
        self._token_ids_SL[slot, : len(tokens)] = tokens
        self._num_prompt_S[slot], self._num_known_S[slot] = len(request.prompt), len(tokens)
        new = NewSlot(
            slot=slot,
            request_id=str(slot),
            token_ids=tokens,
            num_prompt_tokens=len(request.prompt),
            num_computed_tokens=0,
            block_ids=np.array([1], np.int32),
            sampling=request.params,
            seed=request.seed,
            max_tokens=_LONGEST,
            stop_token_ids=request.stop_token_ids,
            bad_words_token_ids=request.bad_words,
        )
        self._slots.add(new)

    def sample(self, logits_NV: torch.Tensor, grammar: GrammarMask | None = None) -> SamplerOutput:
        """One step of all rows; `learn` tells what became of it."""
        self._position_N = self._num_known_S[self._slots_N]
        step = SamplingStep(
            slots_N=self._slots_N,
            position_N=self._position_N,
            token_ids_SL=self._token_ids_SL,
            num_prompt_S=self._num_prompt_S,
            grammar=grammar,
        )
        with torch.inference_mode():
            output: SamplerOutput = self._sampler(
                logits_NV.to(self._device, copy=True), self._slots.rows(self._slots_N), step
            )
        return output

    def learn(self, tokens: Sequence[int]) -> None:
        """The step's tokens join the known ones."""
        self._token_ids_SL[self._slots_N, self._position_N] = tokens
        self._num_known_S[self._slots_N] += 1


def tables(bench: Bench, requests: Sequence[Drawing]) -> tuple[Table, Table]:
    """(the platform's, the native one)."""
    sampler = OpSet(bench.platform.op_overrides()).create("sampler")
    return Table(sampler, requests, bench.device), Table(native_ops()["sampler"](), requests, torch.device("cpu"))


def random_logits(bench: Bench, rows: int, seed: int, size: float = 3.0) -> torch.Tensor:
    """Logits on the host, rounded to the dtype under test."""
    return (torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed)) * size).to(bench.dtype)


def compare_steps(bench: Bench, what: str, requests: Sequence[Drawing], *, steps: int = 4, size: float = 3.0) -> None:
    """Draw by draw: the same tokens, and where asked for the same log-probabilities and ranks, in every one of `steps` steps."""
    platforms, native = tables(bench, requests)
    for number in range(steps):
        logits_NV = random_logits(bench, len(requests), seed=number, size=size)
        found, expected = platforms.sample(logits_NV), native.sample(logits_NV)
        tokens, wanted = found.tokens_N.tolist(), expected.tokens_N.tolist()
        for row, (mine, theirs) in enumerate(zip(tokens, wanted, strict=True)):
            bench.equal(f"{what}: token of row {row} (seed {requests[row].seed}) in step {number}", mine, theirs)
        _compare_logprobs(bench, f"{what}, step {number}", found, expected)
        platforms.learn(wanted)
        native.learn(wanted)


def _compare_logprobs(bench: Bench, what: str, found: SamplerOutput, expected: SamplerOutput) -> None:
    bench.equal(f"{what}: log-probabilities reported", found.logprobs is not None, expected.logprobs is not None)
    if found.logprobs is None or expected.logprobs is None:
        return
    for row, count in enumerate(expected.logprobs.num_R.tolist()):
        mine, theirs = (
            dict(zip(side.token_ids_RK[row, :count].tolist(), side.logprobs_RK[row, :count].tolist(), strict=True))
            for side in (found.logprobs, expected.logprobs)
        )
        common = sorted(mine.keys() & theirs.keys())
        bench.holds(
            len(common) >= len(theirs) - 1, f"{what}, row {row}: found the tokens {list(mine)}, expected {list(theirs)}"
        )
        error = max((abs(mine[token] - theirs[token]) for token in common), default=math.inf if theirs else 0.0)
        bench.within(f"{what}: log-probabilities of row {row}", error, 1e-4)
    bench.equal(f"{what}: ranks", found.logprobs.sampled_rank_R.tolist(), expected.logprobs.sampled_rank_R.tolist())
