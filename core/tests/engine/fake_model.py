"""A deterministic stand-in for worker and model that proves each plan computable, and the naive twin that runs a request alone.

The "key" of a position is a number that depends on every token up to it, as in a real model. Keys live in blocks. A row reads its
context through its block table and compares every key with the true one: a stale block, a wrong hit or a lost delta fails at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vllm.messages import EngineRequest, FinishReason, NewSlot, StepOutput, StepPlan

VOCAB = 40


def keys_of(token_ids: Sequence[int]) -> list[int]:
    """The key of every position."""
    keys, key = [], 17
    for token in token_ids:
        key = (key * 1_000_003 + token * 7919 + 1) % (2**31 - 1)
        keys.append(key)
    return keys


def next_token(token_ids: Sequence[int]) -> int:
    """What the model samples after these tokens."""
    return keys_of(token_ids)[-1] % VOCAB


def generate_alone(request: EngineRequest) -> tuple[list[int], FinishReason, int | None]:
    """Outputs, reason and stop reason of a request, the slow and obvious way."""
    prompt = request.prompt_token_ids.tolist()
    outputs: list[int] = []
    while True:
        outputs.append(next_token(prompt + outputs))
        if len(outputs) >= request.sampling.min_tokens and outputs[-1] in request.stop_token_ids:
            stop_reason = None if outputs[-1] in request.eos_token_ids else outputs[-1]
            return outputs, FinishReason.STOP, stop_reason
        if len(outputs) == request.max_tokens:
            return outputs, FinishReason.LENGTH, None
        if len(outputs) >= request.sampling.min_tokens and repeats(outputs, request):
            return outputs, FinishReason.REPETITION, None


def repeats(outputs: list[int], request: EngineRequest) -> bool:
    """Whether the outputs end in a repeated pattern that the request wants to stop at."""
    wanted = request.sampling.repetition_detection
    if wanted is None:
        return False
    for size in range(wanted.min_pattern_size, wanted.max_pattern_size + 1):
        pattern = outputs[-size:]
        if len(pattern) == size and outputs[-size * wanted.min_count :] == pattern * wanted.min_count:
            return True
    return False


class FakeWorker:
    """Mirrors slots and blocks from the plans' deltas, and executes plans in the order it gets them."""

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.block_size = block_size
        self.keys_of_block = np.full((num_blocks, block_size), -1, np.int64)
        self.tokens: dict[int, list[int]] = {}
        self.computed: dict[int, int] = {}
        self.blocks: dict[int, list[int]] = {}
        self.request_of: dict[int, str] = {}
        self.steps = 0

    def run(self, plan: StepPlan, uneven: bool = False) -> StepOutput:
        """Execute a step. `uneven`: rows yield 0 to 3 tokens, as a speculating runner would."""
        self.steps += 1
        self._apply_deltas(plan)
        rows = list(zip(*(a.tolist() for a in (plan.slots_N, plan.num_computed_N, plan.num_scheduled_N)), strict=True))
        assert len({slot for slot, _, _ in rows}) == len(rows), "a slot has two rows"
        for row in rows:  # all keys are written before any is read
            self._write(*row)
        for row in rows:
            self._read(*row)
        sampling = [row for row, samples in zip(rows, plan.samples_N.tolist(), strict=True) if samples]
        given = [self._sample(slot, computed + count, uneven) for slot, computed, count in sampling]
        return StepOutput(
            step=plan.step,
            slots_N=np.array([slot for slot, _, _ in sampling], np.int32),
            counts_N=np.array([len(tokens) for tokens in given], np.int32),
            token_ids_M=np.array([token for tokens in given for token in tokens], np.int32),
        )

    def _apply_deltas(self, plan: StepPlan) -> None:
        if plan.starts_anew:
            assert {new.slot for new in plan.new} == set(plan.slots_N.tolist()), "a row builds on what counts no more"
            for held in (self.tokens, self.computed, self.blocks, self.request_of):
                held.clear()
        for slot in () if plan.starts_anew else plan.freed_slots.tolist():
            del self.tokens[slot], self.computed[slot], self.blocks[slot], self.request_of[slot]
        for new in plan.new:
            self._take(new)
        appended = (plan.appended_slots_A, plan.appended_index_A, plan.appended_block_ids_A)
        for slot, index, block in zip(*(a.tolist() for a in appended), strict=True):
            assert index == len(self.blocks[slot]), (
                f"slot {slot}: block for column {index}, has {len(self.blocks[slot])}"
            )
            self.blocks[slot].append(block)

    def _take(self, new: NewSlot) -> None:
        assert new.slot not in self.tokens, f"slot {new.slot} was not freed"
        assert 0 <= new.num_computed_tokens < len(new.token_ids)
        self.tokens[new.slot] = new.token_ids.tolist()
        self.computed[new.slot] = new.num_computed_tokens
        self.blocks[new.slot] = new.block_ids.tolist()
        self.request_of[new.slot] = new.request_id

    def _place(self, slot: int, position: int) -> tuple[int, int]:
        block = self.blocks[slot][position // self.block_size]
        assert block != 0, "the null block holds no request's keys"
        return block, position % self.block_size

    def _write(self, slot: int, computed: int, count: int) -> None:
        assert count >= 1
        assert computed == self.computed[slot], f"slot {slot}: {self.computed[slot]} computed, the plan says {computed}"
        assert computed + count <= len(self.tokens[slot]), f"slot {slot}: tokens to compute are not known"
        for position, key in enumerate(keys_of(self.tokens[slot])[computed : computed + count], computed):
            self.keys_of_block[self._place(slot, position)] = key
        self.computed[slot] = computed + count

    def _read(self, slot: int, computed: int, count: int) -> None:
        length = computed + count
        found = [int(self.keys_of_block[self._place(slot, position)]) for position in range(length)]
        assert found == keys_of(self.tokens[slot][:length]), (
            f"slot {slot}: the cache holds other keys than its context's"
        )

    def _sample(self, slot: int, known: int, uneven: bool) -> list[int]:
        assert known == len(self.tokens[slot]), f"slot {slot}: samples after {known} of {len(self.tokens[slot])} tokens"
        count = (slot + self.steps) % 4 if uneven else 1
        given: list[int] = []
        for _ in range(count):
            given.append(next_token(self.tokens[slot]))
            self.tokens[slot].append(given[-1])
        self.computed[slot] = min(self.computed[slot], len(self.tokens[slot]) - 1)
        return given
