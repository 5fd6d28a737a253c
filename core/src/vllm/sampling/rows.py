"""Owns the sampling parameters by slot, and their form as tensors for one set of rows, which is kept until the set changes.

Legend: S slots, N sampling rows in batch order, R rows that draw at random.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch

from vllm.sampling.custom_processors import CustomProcessors
from vllm.sampling.logprobs import LogprobRequest
from vllm.sampling.penalties import Penalties, PenaltyTables
from vllm.sampling.rules import AllowedTokens, BadWords, LogitBias, MinTokens
from vllm.sampling.truncation import TOP_P_OFF, Truncation

if TYPE_CHECKING:
    from vllm.messages import Int32Array, Int64Array, NewSlot
    from vllm.sampling.logits_processors_interface import AddedRow, LogitsProcessor
    from vllm.sampling.step import LogitRule

__all__ = ["RandomRows", "SamplingRows", "SamplingSlots"]

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class RandomRows:
    """The rows that draw."""

    index_R: torch.Tensor | None
    """Among the N rows, on the device; None = all of them."""
    row_R: Int64Array
    temperature_R1: torch.Tensor
    truncation: Truncation
    seed_R: np.ndarray
    """uint64."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SamplingRows:
    """Everything the sampler knows of a set of rows that does not change from step to step."""

    rules: tuple[LogitRule, ...]
    """In the order in which they apply."""
    penalties: Penalties | None
    """The last of the rules, if any row is penalised."""
    random: RandomRows | None
    """None = every row takes its most likely token."""
    num_greedy: int
    logprobs: LogprobRequest | None
    after_temperature: tuple[LogitRule, ...] = ()
    """Rules of the random rows that keep the most likely token; they see all N rows."""

    @property
    def is_plain_greedy(self) -> bool:
        """Nothing but the most likely token is wanted."""
        return not self.rules and self.random is None and self.logprobs is None


class SamplingSlots:
    """By slot: arrays for what every random row has, the parameter objects for what few rows have."""

    def __init__(
        self,
        num_slots: int,
        vocab_size: int,
        device: torch.device,
        processors: Sequence[LogitsProcessor] = (),
        outputs_of: Callable[[int], Sequence[int]] | None = None,
    ) -> None:
        """`outputs_of(slot)` is a live view of the slot's output tokens, for `processors`, the custom ones."""
        self._vocab_size = vocab_size
        self._device = device
        self._temperature_S = np.zeros(num_slots, np.float32)
        self._top_k_S = np.zeros(num_slots, np.int64)
        self._top_p_S = np.zeros(num_slots, np.float32)
        self._min_p_S = np.zeros(num_slots, np.float32)
        self._seed_S = np.zeros(num_slots, np.uint64)
        self._greedy_S = np.ones(num_slots, np.bool_)
        self._special: dict[int, NewSlot] = {}
        """Requests that want more than a temperature and a truncation."""
        self._tables = PenaltyTables(vocab_size, device)
        self._cached: tuple[Int32Array, SamplingRows] | None = None
        self._custom = CustomProcessors(processors)
        self._outputs_of = outputs_of or _no_outputs
        self._arrivals_S = np.zeros(num_slots, np.int64)
        self._new_of_slot: dict[int, NewSlot] = {}
        """Of every slot; kept only for custom processors."""

    def add(self, new: NewSlot) -> None:
        """A request takes a slot."""
        params, slot = new.sampling, new.slot
        self.remove(slot)
        self._arrivals_S[slot] += 1
        if self._custom:
            self._new_of_slot[slot] = new
        self._greedy_S[slot] = params.is_greedy
        self._temperature_S[slot] = params.temperature
        self._top_k_S[slot] = min(params.top_k or self._vocab_size, self._vocab_size)
        self._top_p_S[slot] = params.top_p if params.top_p < 1 else TOP_P_OFF
        self._min_p_S[slot] = params.min_p
        self._seed_S[slot] = new.seed
        if params.has_penalties:
            self._tables.add(new)  # first: it may run out of memory, and a special slot has its table
        if _is_special(new):
            self._special[slot] = new

    def remove(self, slot: int) -> None:
        """The slot is free."""
        self._cached = None
        if self._special.pop(slot, None) is not None:
            self._tables.remove(slot)

    def rows(self, slots_N: Int32Array) -> SamplingRows:
        """The sampler's view of these slots. Rebuilt only when they are not the ones of the last call."""
        if self._cached is not None and np.array_equal(self._cached[0], slots_N):
            self._custom.unchanged()
            return self._cached[1]
        if self._custom:
            self._report_change(slots_N)
        self._cached = slots_N.copy(), self._build(slots_N)
        return self._cached[1]

    def _report_change(self, slots_N: Int32Array) -> None:
        occupants = [(slot, int(self._arrivals_S[slot])) for slot in slots_N.tolist()]
        self._custom.change(occupants, self._describe)

    def _describe(self, slot: int, row: int) -> AddedRow:
        new = self._new_of_slot[slot]
        prompt_ids = new.token_ids[: new.num_prompt_tokens].tolist()
        return row, new.sampling, prompt_ids, self._outputs_of(slot)

    def _build(self, slots_N: Int32Array) -> SamplingRows:
        special = [(row, self._special[slot]) for row, slot in enumerate(slots_N.tolist()) if slot in self._special]
        penalties = self._penalties(special)
        return SamplingRows(
            rules=(*self._rules(special), *((penalties,) if penalties else ())),
            penalties=penalties,
            random=self._random(slots_N),
            num_greedy=int(self._greedy_S[slots_N].sum()),
            logprobs=self._logprobs(special),
            after_temperature=self._custom.after_temperature,
        )

    def _rules(self, special: list[tuple[int, NewSlot]]) -> list[LogitRule]:
        rules: list[LogitRule] = []
        if allowed := _wanted(special, lambda new: new.sampling.allowed_token_ids):
            rules.append(AllowedTokens(allowed, self._vocab_size, self._device))
        if words := _wanted(special, lambda new: new.bad_words_token_ids):
            rules.append(BadWords(words))
        if bias := _wanted(special, lambda new: new.sampling.logit_bias):
            rules.append(LogitBias(bias, self._device))
        if minimum := _wanted(special, lambda new: new.sampling.min_tokens and new):
            rules.append(_min_tokens(minimum))
        return [*rules, *self._custom.before_choice]

    def _penalties(self, special: list[tuple[int, NewSlot]]) -> Penalties | None:
        rows = {new.slot: row for row, new in special if new.sampling.has_penalties}
        if not rows:
            return None
        params = [self._special[slot].sampling for slot in rows]
        return self._tables.rule(
            rows, [(p.repetition_penalty, p.frequency_penalty, p.presence_penalty) for p in params]
        )

    def _random(self, slots_N: Int32Array) -> RandomRows | None:
        row_R = np.flatnonzero(~self._greedy_S[slots_N])
        if not len(row_R):
            return None
        slots_R = slots_N[row_R]
        return RandomRows(
            index_R=None if len(row_R) == len(slots_N) else torch.from_numpy(row_R).to(self._device),
            row_R=row_R,
            temperature_R1=self._column(self._temperature_S[slots_R]),
            truncation=self._truncation(slots_R),
            seed_R=self._seed_S[slots_R],
        )

    def _truncation(self, slots_R: Int32Array) -> Truncation:
        min_p_R, top_k_R, top_p_R = self._min_p_S[slots_R], self._top_k_S[slots_R], self._top_p_S[slots_R]
        max_top_k = int(top_k_R.max())
        return Truncation(
            min_p_R1=self._column(min_p_R) if min_p_R.any() else None,
            top_k_R1=self._column(top_k_R) if top_k_R.min() < self._vocab_size else None,
            max_top_k=max_top_k,
            top_p_R1=self._column(top_p_R) if top_p_R.min() < TOP_P_OFF else None,
        )

    def _logprobs(self, special: list[tuple[int, NewSlot]]) -> LogprobRequest | None:
        rows = [(row, new.sampling) for row, new in special if _wants_logprobs(new)]
        if not rows:
            return None
        row_R = np.array([row for row, _ in rows], np.int64)
        counts = [self._vocab_size if p.logprobs == -1 else p.logprobs or 0 for _, p in rows]
        return LogprobRequest(
            row_R=row_R,
            row_index_R=torch.from_numpy(row_R).to(self._device),
            num_best_R=np.array(counts, np.int32),
            listed_of_row=tuple(tuple(p.logprob_token_ids) if p.logprob_token_ids else None for _, p in rows),
        )

    def _column(self, values_R: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values_R).to(self._device)[:, None]


def _no_outputs(slot: int) -> Sequence[int]:
    del slot
    return ()


def _wants_logprobs(new: NewSlot) -> bool:
    return new.sampling.logprobs is not None or bool(new.sampling.logprob_token_ids)


def _is_special(new: NewSlot) -> bool:
    params = new.sampling
    wishes = (params.allowed_token_ids, new.bad_words_token_ids, params.logit_bias, params.min_tokens)
    return any(wishes) or params.has_penalties or _wants_logprobs(new)


def _wanted(special: list[tuple[int, NewSlot]], get: Callable[[NewSlot], T | None]) -> dict[int, T]:
    """row → wish, for the rows that have one."""
    wishes = ((row, get(new)) for row, new in special)
    return {row: wish for row, wish in wishes if wish}


def _min_tokens(new_of_row: dict[int, Any]) -> MinTokens:
    return MinTokens(
        row_R=np.array(list(new_of_row), np.int64),
        min_tokens_R=np.array([new.sampling.min_tokens for new in new_of_row.values()], np.int64),
        stop_ids_of_row=tuple(new.stop_token_ids for new in new_of_row.values()),
    )
