"""Owns engines for the generation laws: the embedded model on the platform under test, requests, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from vllm.engine.llm_engine import LLMEngine
from vllm.errors import ConfigError
from vllm.inputs import TokensPrompt
from vllm.platforms.capabilities import Feature, Support
from vllm.platforms.selection import load_platform
from vllm.sampling_params import SamplingParams, StructuredOutputsParams
from vllm.testing.failing_processor import FAILS_AFTER
from vllm.testing.forced_token import ARGUMENT

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.outputs import LogprobsOnePosition, RequestOutput
    from vllm.testing.workplace import Workplace
    from vllm.worker.worker_base import WorkerBase

T = TypeVar("T")

__all__ = ["Answer", "Engine", "Question", "open_engine"]


@dataclass(frozen=True, kw_only=True)
class Question:
    """One request, in token ids. `seed` None: greedy, with the log-probabilities of the prompt; else random."""

    prompt: tuple[int, ...]
    max_tokens: int
    seed: int | None = None
    scores_prompt: bool = True
    penalty: float = 1.0
    """Repetition penalty."""
    pattern: str | None = None
    """Regular expression that the text must match."""
    forced_token: int | None = None
    """See `vllm.testing.forced_token`."""
    fails_after_tokens: int | None = None
    """See `vllm.testing.failing_processor`."""

    @property
    def params(self) -> SamplingParams:
        """Two best log-probabilities of every token: their difference is the margin."""
        arguments = {ARGUMENT: self.forced_token, FAILS_AFTER: self.fails_after_tokens}
        return SamplingParams(
            temperature=0.0 if self.seed is None else 0.8,
            seed=self.seed,
            max_tokens=self.max_tokens,
            ignore_eos=self.pattern is None,
            logprobs=2,
            prompt_logprobs=0 if self.scores_prompt and self.seed is None else None,
            repetition_penalty=self.penalty,
            structured_outputs=None if self.pattern is None else StructuredOutputsParams(regex=self.pattern),
            extra_args={key: value for key, value in arguments.items() if value is not None} or None,
        )

    def unscored(self) -> Question:
        """Without prompt log-probabilities, which keep a request from using the prefix cache."""
        return replace(self, scores_prompt=False)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a request gave."""

    question: Question
    tokens: tuple[int, ...]
    text: str
    """Empty without a tokenizer."""
    logprobs: tuple[dict[int, float], ...]
    """Per token: its own and the two best."""
    prompt_logprobs: tuple[float, ...]
    """Of prompt tokens 1 …; empty where not asked for."""
    num_preemptions: int
    num_cached_tokens: int
    end: str | None = None
    """The finish reason."""


class Engine:
    """An LLMEngine that answers questions."""

    def __init__(self, engine: LLMEngine) -> None:
        self._engine = engine
        self._count = 0

    @property
    def config(self) -> VllmConfig:
        """The engine's complete configuration."""
        return self._engine.config

    def call(self, method: Callable[[WorkerBase], T]) -> list[T]:
        """A method of the worker contract on every rank."""
        return self._engine.collective_rpc(method)

    def sleeps(self, level: int) -> bool:
        """Fall asleep. A platform that declares sleep mode partial may refuse level 2, in words: False then."""
        platform = load_platform(self.config.platform)
        try:
            self._engine.sleep(level)
        except ConfigError:
            if level == 1 or platform.capability(Feature.SLEEP_MODE).support is not Support.PARTIAL:
                raise
            return False
        return True

    def wake_up(self) -> None:
        """Weights and cache."""
        self._engine.wake_up()

    def ask(self, *questions: Question) -> list[Answer]:
        """All at once; answers in the questions' order."""
        ids = [f"{self._count}-{index}" for index in range(len(questions))]
        self._count += 1
        for request_id, question in zip(ids, questions, strict=True):
            self._engine.add_request(request_id, TokensPrompt(prompt_token_ids=list(question.prompt)), question.params)
        finished = {}
        while self._engine.has_unfinished_requests():
            finished.update({output.request_id: output for output in self._engine.step() if output.finished})
        return [_answer(question, finished[request_id]) for request_id, question in zip(ids, questions, strict=True)]

    def ask_each_alone(self, questions: Sequence[Question]) -> list[Answer]:
        """One after the other."""
        return [answer for question in questions for answer in self.ask(question)]


@contextmanager
def open_engine(workplace: Workplace, **options: Any) -> Iterator[Engine]:
    """An engine with these options, fitted to the platform's constraints; shut down in the end."""
    engine = LLMEngine(engine_config(workplace, **options))
    try:
        yield Engine(engine)
    finally:
        engine.shutdown()


def engine_config(workplace: Workplace, **options: Any) -> VllmConfig:
    """Limits that the platform cannot keep are fitted, because laws ask for small ones."""
    asked = {"skip_tokenizer_init": True, "disable_log_stats": True, "use_tqdm_on_load": False, **options}
    constraints = workplace.platform.scheduling_constraints(workplace.config(dtype=options["dtype"]))
    if constraints.decode_batch_buckets and "max_num_seqs" in asked:
        asked["max_num_seqs"] = min(asked["max_num_seqs"], constraints.decode_batch_buckets[-1])
    if "max_num_batched_tokens" in asked:
        tokens = max(asked["max_num_batched_tokens"], constraints.prefill_chunk_tokens or 1)
        most = constraints.token_buckets[-1] if constraints.token_buckets else tokens
        asked["max_num_batched_tokens"] = min(tokens, most)
    return workplace.config(**asked)


def _answer(question: Question, output: RequestOutput) -> Answer:
    (completion,) = output.outputs
    prompt = list(output.prompt_logprobs or ())[1:]
    return Answer(
        question=question,
        tokens=tuple(completion.token_ids),
        text=completion.text,
        logprobs=tuple(_plain(entry) for entry in completion.logprobs or () if entry is not None),
        prompt_logprobs=tuple(
            entry[token].logprob for entry, token in zip(prompt, question.prompt[1:], strict=False) if entry is not None
        ),
        num_preemptions=output.metrics.num_preemptions if output.metrics else 0,
        num_cached_tokens=output.num_cached_tokens or 0,
        end=completion.finish_reason,
    )


def _plain(entry: LogprobsOnePosition) -> dict[int, float]:
    return {token: logprob.logprob for token, logprob in entry.items()}
