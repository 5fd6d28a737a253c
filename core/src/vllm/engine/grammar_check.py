"""Owns the question whether a constraint can be compiled, asked before a request reaches the engine core.

A regex of twenty characters can take minutes, or all memory, or crash the compiler. So the answer is found in a process beside, within
`VLLM_GRAMMAR_COMPILE_TIMEOUT` seconds, together with the first mask; what a core compiles after that is known to be bearable.
"""

from __future__ import annotations

import asyncio
import hashlib
import pickle
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from vllm import envs
from vllm.engine.model_text import late_grammar_factory
from vllm.errors import BeyondLimitsError, InvalidRequestError, QueueFullError
from vllm.executor.helper import HelperPool
from vllm.sampling.grammar_source import refusal
from vllm.sampling.structured_output import allocate_bitmask

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.sampling.structured_output import GrammarFactory
    from vllm.sampling_params import StructuredOutputsParams

__all__ = ["GrammarCheck"]

MAX_VERDICTS = 1024
MAX_QUESTIONS = 256
"""Constraints that are being looked at or wait for it: one after the other, each may take its whole time."""
RETRY_AFTER_s = 60.0
"""What was beyond the limits may be within them when the machine has less to do."""


@dataclass(slots=True)
class _Question:
    """A constraint that is being looked at, and how many requests wait to hear."""

    task: asyncio.Task[InvalidRequestError | None]
    askers: int = 0


class GrammarCheck:
    """One per engine, for the tasks of one event loop. Every constraint is looked at once; beyond the limits, once a minute."""

    def __init__(self, config: VllmConfig) -> None:
        """Starts nothing: the first constraint does."""
        self._config = pickle.dumps(config)
        self._pool = HelperPool("GrammarCheck", _prepare, self._config)
        self._verdicts: OrderedDict[bytes, InvalidRequestError | None] = OrderedDict()
        self._questions: dict[bytes, _Question] = {}

    async def check(self, params: StructuredOutputsParams) -> None:
        """Raise InvalidRequestError where the constraint cannot be compiled, or not within the limits; QueueFullError where many wait."""
        name = hashlib.blake2b(pickle.dumps(params)).digest()
        if name in self._verdicts:
            self._verdicts.move_to_end(name)
            verdict = self._verdicts[name]
        else:
            verdict = await self._answer(name, params)
        if verdict is not None:
            raise verdict.with_traceback(None)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    async def _answer(self, name: bytes, params: StructuredOutputsParams) -> InvalidRequestError | None:
        """Who leaves takes nobody's answer away; once all have left, nobody looks."""
        question = self._questions.get(name) or self._begin(name, params)
        question.askers += 1
        try:
            return await asyncio.shield(question.task)
        finally:
            question.askers -= 1
            if not question.askers:
                question.task.cancel()
                self._questions.pop(name, None)

    def _begin(self, name: bytes, params: StructuredOutputsParams) -> _Question:
        if len(self._questions) >= MAX_QUESTIONS:
            raise QueueFullError(
                f"{MAX_QUESTIONS} constraints of other requests wait to be compiled.", remedy="try again later"
            )
        question = self._questions[name] = _Question(asyncio.ensure_future(self._look(name, params)))
        return question

    async def _look(self, name: bytes, params: StructuredOutputsParams) -> InvalidRequestError | None:
        """The verdict, which is kept. What is none is raised to all who ask now."""
        try:
            await self._pool.run(envs.VLLM_GRAMMAR_COMPILE_TIMEOUT, _compile, self._config, params)
            verdict: InvalidRequestError | None = None
        except BeyondLimitsError as error:
            verdict = refusal(params, f"it {error.what}")
            asyncio.get_running_loop().call_later(RETRY_AFTER_s, self._verdicts.pop, name, None)
        except InvalidRequestError as error:
            verdict = error
        self._verdicts[name] = verdict
        if len(self._verdicts) > MAX_VERDICTS:
            self._verdicts.popitem(last=False)
        return verdict


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
