"""Owns helpers of the sampler's tests: slots filled from parameters, and steps over them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vllm.messages import NewSlot
from vllm.sampling.rows import SamplingSlots
from vllm.sampling.sampler import Sampler
from vllm.sampling.step import GrammarMask, SamplerOutput, SamplingStep
from vllm.sampling_params import SamplingParams

V = 100
MAX_LEN = 64


@dataclass
class Case:
    """One request in the middle of its generation."""

    params: SamplingParams
    prompt: Sequence[int] = (1, 2, 3)
    outputs: Sequence[int] = ()
    seed: int = 0
    stop_token_ids: tuple[int, ...] = ()
    bad_words: tuple[tuple[int, ...], ...] = ()


def case(*, prompt: Sequence[int] = (1, 2, 3), outputs: Sequence[int] = (), seed: int = 0, **params: Any) -> Case:
    """A case from SamplingParams' fields."""
    return Case(SamplingParams(**{"temperature": 0.0, **params}), prompt, outputs, seed)


class Table:
    """Slots, known tokens and a sampler; case i sits in slot 2 i + 1."""

    def __init__(self, cases: Sequence[Case], logprobs_mode: str = "raw_logprobs") -> None:
        num_slots = 2 * len(cases) + 2
        self.sampling = SamplingSlots(num_slots, V, torch.device("cpu"))
        self.sampler = Sampler(logprobs_mode)
        self.token_ids_SL = np.zeros((num_slots, MAX_LEN), np.int32)
        self.num_prompt_S = np.zeros(num_slots, np.int64)
        self.num_known_S = np.zeros(num_slots, np.int64)
        self.slots = [2 * i + 1 for i in range(len(cases))]
        for slot, one in zip(self.slots, cases, strict=True):
            self.add(slot, one)

    def add(self, slot: int, one: Case) -> None:
        tokens = np.array([*one.prompt, *one.outputs], np.int32)
        self.token_ids_SL[slot, : len(tokens)] = tokens
        self.num_prompt_S[slot], self.num_known_S[slot] = len(one.prompt), len(tokens)
        self.sampling.add(
            NewSlot(
                slot=slot,
                request_id=str(slot),
                token_ids=tokens,
                num_prompt_tokens=len(one.prompt),
                num_computed_tokens=0,
                block_ids=np.array([1], np.int32),
                sampling=one.params,
                seed=one.seed,
                max_tokens=16,
                stop_token_ids=one.stop_token_ids,
                bad_words_token_ids=one.bad_words,
            )
        )

    def sample(self, logits: torch.Tensor, grammar: GrammarMask | None = None) -> SamplerOutput:
        """One step over all cases; the tokens join the known ones."""
        slots_N = np.array(self.slots, np.int32)
        position_N = self.num_known_S[slots_N]
        step = SamplingStep(
            slots_N=slots_N,
            position_N=position_N,
            token_ids_SL=self.token_ids_SL,
            num_prompt_S=self.num_prompt_S,
            grammar=grammar,
        )
        output = self.sampler(logits.clone(), self.sampling.rows(slots_N), step)
        self.token_ids_SL[slots_N, position_N] = output.tokens_N.numpy()
        self.num_known_S[slots_N] += 1
        return output

    def tokens(self, logits: torch.Tensor) -> list[int]:
        return self.sample(logits).tokens_N.tolist()
