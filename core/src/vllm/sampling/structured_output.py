"""Owns grammars at run time: `GrammarFactory` per engine, `GrammarState` per request, bit masks of the tokens allowed next.

Everything is llguidance underneath. numpy only. Bit `i % 32` of word `i // 32` of a row is token i; 1 means allowed. Rows are
int32 `[ceil(V / 32)]` for a vocabulary of V tokens; ids past the tokenizer's own (padding of the embedding) are never allowed.
EOS is allowed exactly where the output is complete, and nothing else once EOS was taken.

Shape legend: N rows of a mask, W = ceil(V / 32) words.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from vllm.errors import ConfigError, InvalidRequestError
from vllm.sampling.grammar_source import check_structured_outputs, grammar_source, refusal

if TYPE_CHECKING:
    import llguidance

    from vllm.sampling_params import StructuredOutputsParams
    from vllm.text.tokenizer import Tokenizer

__all__ = ["Bitmask", "GrammarFactory", "GrammarState", "allocate_bitmask", "check_structured_outputs", "words_per_row"]

Bitmask = npt.NDArray[np.int32]
MAX_CACHED_GRAMMARS = 256
MAX_CACHED_s = 20.0
"""Of the time that the kept grammars took to compile: what took long is large (some 16 MB per second)."""


def words_per_row(vocab_size: int) -> int:
    """int32 words of one row of a mask."""
    return (vocab_size + 31) // 32


def allocate_bitmask(num_rows: int, vocab_size: int) -> Bitmask:
    """A mask [num_rows, W] that allows everything."""
    return np.full((num_rows, words_per_row(vocab_size)), -1, dtype=np.int32)


class GrammarFactory:
    """Compiles constraints for one tokenizer; compiled grammars are kept. May be used from several threads."""

    def __init__(
        self, load_tokenizer: Callable[[], Tokenizer], *, vocab_size: int, eos_token_ids: Sequence[int]
    ) -> None:
        """`load_tokenizer` is called at the first constraint: an engine core of its own needs no tokenizer for anything else."""
        self._load_tokenizer = load_tokenizer
        self.vocab_size = vocab_size
        self.eos_token_ids = tuple(eos_token_ids)
        self._prototypes: OrderedDict[str, tuple[llguidance.LLMatcher, float]] = OrderedDict()
        """With the seconds that each took."""
        self._lock = Lock()

    def new_state(self, params: StructuredOutputsParams) -> GrammarState:
        """A fresh state for one request. Raises InvalidRequestError with llguidance's words for a constraint it refuses."""
        source = grammar_source(params)
        prototype = self._cached(source) or self._compile(source, params)
        return GrammarState(prototype.deep_copy(), eos_mask=self._eos_mask, eos_token_ids=self.eos_token_ids)

    def fill_bitmasks(self, states: Sequence[GrammarState], rows: Sequence[int], mask_NW: Bitmask) -> None:
        """Fill row `rows[i]` of the mask from `states[i]`; several at once on several threads, without the GIL."""
        from llguidance.numpy import fill_next_token_bitmask_par

        for state, row in zip(states, rows, strict=True):
            if state.is_ended:
                mask_NW[row] = self._eos_mask
        running = [(state.matcher, row) for state, row in zip(states, rows, strict=True) if not state.is_ended]
        if running:
            fill_next_token_bitmask_par(self._executor, running, mask_NW)

    def prepare(self) -> None:
        """Do now what the first constraint would wait for: load the tokenizer. Raises InvalidRequestError for one that does not fit."""
        self._llguidance_tokenizer  # noqa: B018 - cached

    def _cached(self, source: str) -> llguidance.LLMatcher | None:
        with self._lock:
            if source not in self._prototypes:
                return None
            self._prototypes.move_to_end(source)
            return self._prototypes[source][0]

    def _compile(self, source: str, params: StructuredOutputsParams) -> llguidance.LLMatcher:
        import llguidance

        tokenizer = self._llguidance_tokenizer
        start_s = time.monotonic()
        matcher = llguidance.LLMatcher(tokenizer, source, log_level=0)
        if matcher.is_error():
            raise refusal(params, matcher.get_error())
        self._keep(source, matcher, time.monotonic() - start_s)
        return matcher

    def _keep(self, source: str, matcher: llguidance.LLMatcher, took_s: float) -> None:
        with self._lock:
            self._prototypes[source] = (matcher, took_s)
            while len(self._prototypes) > MAX_CACHED_GRAMMARS or self._kept_s() > MAX_CACHED_s:
                self._prototypes.popitem(last=False)

    def _kept_s(self) -> float:
        return sum(seconds for _, seconds in self._prototypes.values())

    @cached_property
    def _llguidance_tokenizer(self) -> llguidance.LLTokenizer:
        import llguidance

        tokenizer = self._load_tokenizer()
        backend = tokenizer.backend_tokenizer
        if backend is None:
            raise InvalidRequestError(
                "Structured outputs need a tokenizer of the `tokenizers` library; this model's is written in Python.",
                parameter="structured_outputs",
            )
        if not self.eos_token_ids:
            raise InvalidRequestError(
                "Structured outputs need an EOS token, which says that the output is complete; this model has none.",
                parameter="structured_outputs",
            )
        if self.vocab_size < len(tokenizer):
            raise ConfigError(
                f"The tokenizer has {len(tokenizer)} tokens, but the model only {self.vocab_size}.",
                cause="a tokenizer that belongs to another model",
            )
        return llguidance.LLTokenizer(backend.to_str(), n_vocab=self.vocab_size, eos_token=list(self.eos_token_ids))

    @cached_property
    def _executor(self) -> llguidance.LLExecutor:
        import llguidance

        return llguidance.LLExecutor()

    @cached_property
    def _eos_mask(self) -> Bitmask:
        """[W] the row that allows the EOS tokens alone."""
        bits = np.zeros(words_per_row(self.vocab_size) * 32, dtype=np.uint8)
        bits[list(self.eos_token_ids)] = 1
        return np.packbits(bits, bitorder="little").view("<i4").astype(np.int32)


class GrammarState:
    """How far one request has come in its grammar.

    The owner calls `fill_bitmask` before sampling and `accept` with each sampled token; `rollback` takes tokens back.
    """

    def __init__(self, matcher: llguidance.LLMatcher, *, eos_mask: Bitmask, eos_token_ids: tuple[int, ...]) -> None:
        self.matcher = matcher
        self._eos_mask = eos_mask
        self._eos_token_ids = frozenset(eos_token_ids)
        self._num_eos = 0
        """EOS tokens taken; the matcher is never told of them."""

    def fill_bitmask(self, row_W: Bitmask) -> None:
        """Write the tokens allowed next into a contiguous row."""
        if self.is_ended:
            row_W[:] = self._eos_mask
            return
        if not row_W.flags.c_contiguous:
            raise ValueError("A row of a bit mask must be contiguous in memory.")
        self.matcher.unsafe_compute_mask_ptr(row_W.ctypes.data, row_W.nbytes)

    def accept(self, token_id: int) -> bool:
        """Take one token. False if it is not allowed here; the state is as before then, and generation should end with an error."""
        if token_id in self._eos_token_ids:
            if not self.is_complete:
                return False
            self._num_eos += 1
            return True
        if self.is_ended:
            return False
        return bool(self.matcher.try_consume_tokens([token_id]) == 1)

    def count_acceptable(self, token_ids: Sequence[int]) -> int:
        """How many of these (speculated) tokens, from the first on, are allowed one after the other. Changes nothing."""
        accepted = 0
        for token_id in token_ids:
            if not self.accept(token_id):
                break
            accepted += 1
        self.rollback(accepted)
        return accepted

    def rollback(self, num_tokens: int) -> None:
        """Take back the last tokens accepted."""
        eos = min(num_tokens, self._num_eos)
        self._num_eos -= eos
        if num_tokens > eos and not self.matcher.rollback(num_tokens - eos):
            raise ValueError(
                f"Cannot take back {num_tokens} tokens: {self.matcher.get_error() or 'not so many were accepted'}."
            )

    def forced_tokens(self) -> list[int]:
        """Tokens that must come next whatever the model says; often empty."""
        return [] if self.is_ended else list(self.matcher.compute_ff_tokens())

    @property
    def is_complete(self) -> bool:
        """The output so far satisfies the grammar, so EOS is allowed."""
        return self.is_ended or bool(self.matcher.is_accepting())

    @property
    def is_terminated(self) -> bool:
        """Nothing but EOS can come any more."""
        return self.is_ended or bool(self.matcher.is_stopped())

    @property
    def is_ended(self) -> bool:
        """EOS was taken."""
        return self._num_eos > 0

    @property
    def error(self) -> str | None:
        """llguidance's words if it gave up on this grammar (too complex), else None."""
        return str(self.matcher.get_error()) if self.matcher.is_error() else None

    def copy(self) -> GrammarState:
        """An independent state at the same place."""
        twin = GrammarState(self.matcher.deep_copy(), eos_mask=self._eos_mask, eos_token_ids=tuple(self._eos_token_ids))
        twin._num_eos = self._num_eos
        return twin
