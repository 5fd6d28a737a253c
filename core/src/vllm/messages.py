"""Messages that cross a boundary of the engine: front ↔ engine core ↔ worker. All are frozen; arrays are not copied.

Shape legend: S slots, N rows of one step, A appended blocks, M sampled tokens, K logprobs kept per token.

A *slot* is a row number in `[0, max_num_seqs)` which the scheduler gives to a request while it runs. Every array that a step touches is
indexed by slot; both sides keep their own copy and the plan carries only what changed. numpy only: this module never imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import numpy.typing as npt

from vllm.sampling_params import SamplingParams

Int32Array = npt.NDArray[np.int32]
Int64Array = npt.NDArray[np.int64]
Float32Array = npt.NDArray[np.float32]
BoolArray = npt.NDArray[np.bool_]

__all__ = [
    "BoolArray",
    "Delivery",
    "EngineRequest",
    "EngineStepOutput",
    "FinishReason",
    "FinishedRequest",
    "Float32Array",
    "Int32Array",
    "Int64Array",
    "NewSlot",
    "PromptLogprobs",
    "RequestTokens",
    "SampledLogprobs",
    "StepOutput",
    "StepPlan",
]


class FinishReason(str, Enum):
    """Why a request ended; the values are what vLLM's users see in `CompletionOutput.finish_reason`."""

    STOP = "stop"
    LENGTH = "length"
    ABORT = "abort"
    ERROR = "error"
    REPETITION = "repetition"


class Delivery(str, Enum):
    """When the engine core reports a request's tokens to the front."""

    EVERY_STEP = "every_step"
    """After each step: needed for streaming and for stop strings."""
    AT_FINISH = "at_finish"
    """Once, when the request ends: costs no Python per step."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineRequest:
    """One sequence to generate, front → engine core. `n > 1` and beams are expanded by the front before."""

    request_id: str
    prompt_token_ids: Int32Array
    """[prompt tokens], at least one."""
    sampling: SamplingParams
    seed: int
    """In [0, 2**63). Given by the user or drawn by the front; every draw of the request is a function of (seed, position)."""
    max_tokens: int
    """Most tokens to generate, already cut to the context: prompt + max_tokens <= max_model_len."""
    stop_token_ids: tuple[int, ...] = ()
    """Ids that end generation once `min_tokens` are out: EOS (unless `ignore_eos`) and the user's."""
    eos_token_ids: tuple[int, ...] = ()
    """The part of `stop_token_ids` that is the model's EOS: for these `stop_reason` is None."""
    bad_words_token_ids: tuple[tuple[int, ...], ...] = ()
    """Token sequences of `sampling.bad_words`: the last token of each is forbidden after the ones before it."""
    arrival_time_s: float = 0.0
    """time.monotonic() at arrival."""
    priority: int = 0
    """Lower runs first under the priority policy."""
    cache_salt: str | None = None
    delivery: Delivery = Delivery.EVERY_STEP


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSlot:
    """A request takes a slot: at its first scheduling, and again after a preemption (then with its outputs so far)."""

    slot: int
    request_id: str
    token_ids: Int32Array
    """[known tokens] prompt, then outputs generated before a preemption. The receiver copies; the sender keeps ownership."""
    num_prompt_tokens: int
    num_computed_tokens: int
    """Tokens whose keys and values already lie in the given blocks (prefix-cache hit), < len(token_ids)."""
    block_ids: Int32Array
    """[blocks] the blocks held now, hit blocks first."""
    sampling: SamplingParams
    seed: int
    max_tokens: int
    stop_token_ids: tuple[int, ...] = ()
    bad_words_token_ids: tuple[tuple[int, ...], ...] = ()
    num_prompt_logprobs_done: int = 0
    """Prompt log-probabilities already delivered (a preempted request does not deliver them twice)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StepPlan:
    """What one step computes, scheduler → worker. Apply in this order: `freed_slots`, `new`, appended blocks, then compute.

    A row is one running request. Rows come in the scheduler's order; a batch builder may reorder and pad them, and answers by slot.
    The plan of a decode never carries the last token: the worker keeps it by slot.
    """

    step: int
    """Counts from 0; `StepOutput.step` answers it."""
    slots_N: Int32Array
    num_computed_N: Int32Array
    """Tokens of the row computed before this step = position of its first token in this step."""
    num_scheduled_N: Int32Array
    """Tokens of the row computed in this step, >= 1."""
    samples_N: BoolArray
    """True where the row's last scheduled token is its last known one: the row yields a token."""
    total_tokens: int
    """Sum of num_scheduled_N."""
    freed_slots: Int32Array
    """Slots whose request ended or was preempted since the last plan."""
    new: tuple[NewSlot, ...] = ()
    appended_slots_A: Int32Array = field(default_factory=lambda: np.empty(0, np.int32))
    appended_index_A: Int32Array = field(default_factory=lambda: np.empty(0, np.int32))
    """Column in the slot's block table where the block goes."""
    appended_block_ids_A: Int32Array = field(default_factory=lambda: np.empty(0, np.int32))
    grammar_rows_G: Int32Array = field(default_factory=lambda: np.empty(0, np.int32))
    """Slots of sampling rows that need a grammar mask; the mask itself is handed over at sampling time, in this order."""
    starts_anew: bool = False
    """The first plan after a step that failed: nothing that earlier plans said of any slot counts, and all rows are in `new`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SampledLogprobs:
    """Log-probabilities of some of a step's sampled tokens (natural logarithm, before or after processors as `logprobs_mode` says)."""

    rows_R: Int32Array
    """Index into `StepOutput.token_ids_M` of each row here."""
    token_ids_RK: Int32Array
    """First column: the sampled token; then the most likely ones, best first, padded past `num_R`."""
    logprobs_RK: Float32Array
    sampled_rank_R: Int32Array
    """1 = the most likely token."""
    num_R: Int32Array
    """Valid columns of each row: 1 + the requested number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptLogprobs:
    """Log-probabilities of a stretch of one prompt: entry i is about prompt token `start + i`, predicted from those before it."""

    slot: int
    start: int
    """Index of the first prompt token covered; never 0, the first token has no prediction."""
    token_ids_TK: Int32Array
    """First column: the prompt's own token; then the most likely ones, best first."""
    logprobs_TK: Float32Array
    rank_T: Int32Array


@dataclass(frozen=True, kw_only=True, slots=True)
class StepOutput:
    """What one step gave, worker → scheduler. Ragged: a sampling row yields `counts_N` tokens (0 to 1 + speculated)."""

    step: int
    slots_N: Int32Array
    """The sampling rows, any order."""
    counts_N: Int32Array
    token_ids_M: Int32Array
    """The tokens of all rows, row after row; M = sum(counts_N)."""
    logprobs: SampledLogprobs | None = None
    prompt_logprobs: tuple[PromptLogprobs, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class FinishedRequest:
    """A request ended in this step, engine core → front."""

    request_id: str
    reason: FinishReason
    stop_reason: int | str | None
    """The stop token that ended it (None for EOS and for every other reason)."""
    output_token_ids: Int32Array
    """[outputs] all generated tokens (empty array if none)."""
    num_cached_tokens: int
    """Prompt tokens taken from the prefix cache at first scheduling."""
    num_preemptions: int = 0
    first_scheduled_time_s: float | None = None
    first_token_time_s: float | None = None
    last_token_time_s: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class RequestTokens:
    """New tokens of the requests that want them at every step, engine core → front. Struct of arrays, R requests."""

    request_ids: list[str]
    counts_R: Int32Array
    token_ids_M: Int32Array
    num_cached_tokens_R: Int32Array
    logprobs: SampledLogprobs | None = None
    """`rows_R` index into `token_ids_M` here."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineStepOutput:
    """Everything one engine step tells the front."""

    tokens: RequestTokens | None
    finished: tuple[FinishedRequest, ...]
    prompt_logprobs: tuple[tuple[str, PromptLogprobs], ...] = ()
    """(request id, stretch) in prompt order."""
    finished_logprobs: tuple[tuple[str, SampledLogprobs], ...] = ()
    """Log-probabilities of AT_FINISH requests: rows_R index the request's own output tokens."""
