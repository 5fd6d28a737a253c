"""Owns the question whether a constraint can be compiled, asked before a request reaches the engine core.

A regex of twenty characters can take minutes, or all memory, or crash the compiler. So the answer is found in a process beside, within
`VLLM_GRAMMAR_COMPILE_TIMEOUT` seconds, together with the first mask; what a core compiles after that is known to be bearable.
"""

from __future__ import annotations

import asyncio
import hashlib
import pickle
from collections import OrderedDict
from functools import lru_cache
from typing import TYPE_CHECKING

from vllm import envs
from vllm.engine.model_text import late_grammar_factory
from vllm.errors import BeyondLimitsError, VllmError
from vllm.executor.helper import HelperPool
from vllm.sampling.grammar_source import refusal
from vllm.sampling.structured_output import allocate_bitmask

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.sampling.structured_output import GrammarFactory
    from vllm.sampling_params import StructuredOutputsParams

__all__ = ["GrammarCheck"]

MAX_ANSWERS = 1024


class GrammarCheck:
    """One per engine, for the tasks of one event loop. Every constraint is looked at once, however often it comes."""

    def __init__(self, config: VllmConfig) -> None:
        """Starts nothing: the first constraint does."""
        self._config = pickle.dumps(config)
        self._pool = HelperPool("GrammarCheck", _prepare, self._config)
        self._answers: OrderedDict[bytes, asyncio.Future[VllmError | None]] = OrderedDict()

    async def check(self, params: StructuredOutputsParams) -> None:
        """Raise InvalidRequestError where the constraint cannot be compiled, or not within the limits."""
        name = hashlib.blake2b(pickle.dumps(params)).digest()
        if name not in self._answers:
            self._answers[name] = asyncio.ensure_future(self._ask(params))
        self._answers.move_to_end(name)
        if len(self._answers) > MAX_ANSWERS:
            self._answers.popitem(last=False)
        error = await asyncio.shield(self._answers[name])  # who leaves takes nobody's answer away
        if error is not None:
            raise error.with_traceback(None)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    async def _ask(self, params: StructuredOutputsParams) -> VllmError | None:
        try:
            await self._pool.run(envs.VLLM_GRAMMAR_COMPILE_TIMEOUT, _compile, self._config, params)
        except BeyondLimitsError as error:
            return refusal(params, f"it {error.what}")
        except VllmError as error:
            return error
        return None


# ---- in a helper's process


@lru_cache(maxsize=1)
def _factory(pickled_config: bytes) -> GrammarFactory:
    """The tokenizer's part of the work, which grammars share."""
    factory = late_grammar_factory(pickle.loads(pickled_config))
    assert factory is not None, "requests with grammars are refused where there is no tokenizer"
    return factory


def _prepare(pickled_config: bytes) -> None:
    _factory(pickled_config).prepare()


def _compile(pickled_config: bytes, params: StructuredOutputsParams) -> None:
    """Up to the first mask: some grammars are compiled quickly, and then too large to be used."""
    factory = _factory(pickled_config)
    state = factory.new_state(params)
    state.fill_bitmask(allocate_bitmask(1, factory.vocab_size)[0])
    if state.error is not None:
        raise refusal(params, state.error)
