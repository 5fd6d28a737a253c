"""Laws of the whole engine on the platform: the embedded model gives what dense fp32 gives, however its requests are run.

In fp32 tokens are equal. In 16 bits log-probabilities stay within the tolerance for as long as two runs have the same tokens before them
(teacher forcing), and tokens must agree wherever the margin of the two best exceeds twice the tolerance.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vllm.platforms.capabilities import Feature
from vllm.testing.bench import Bench
from vllm.testing.engines import Answer, Question, open_engine
from vllm.testing.law import law
from vllm.testing.reference_model import embedded_model
from vllm.testing.texts import counting, prose

MAX_MODEL_LEN = 512


# -- questions and the base answers


def _questions(bench: Bench) -> list[Question]:
    """Ragged greedy prompts around the block's edges, and random ones."""
    block = bench.workplace.config(dtype=bench.dtype_name).cache_config.block_size
    out = 12 if bench.quick else 24
    lengths = (1, block - 1, block, block + 1, 2 * block + 5, 40) if block <= 64 else (1, 7, 40, block - 1, block + 1)
    greedy = [Question(prompt=prose()[7 * i : 7 * i + n], max_tokens=out) for i, n in enumerate(lengths)]
    counts = [Question(prompt=counting(first), max_tokens=out) for first in (17, 230)]
    random = [Question(prompt=prose()[100 + i : 120 + 9 * i], max_tokens=out, seed=i) for i in range(3)]
    return [*greedy, *counts, *random]


def _alone(bench: Bench) -> list[Answer]:
    """The base: every request by itself, its prompt whole where the platform can, no prefix cache."""

    def ask() -> list[Answer]:
        with _engine(bench, max_num_seqs=2, max_num_batched_tokens=MAX_MODEL_LEN) as engine:
            return engine.ask_each_alone(_questions(bench))

    return bench.workplace.kept(("alone", bench.dtype_name), ask)


def _engine(bench: Bench, **options: Any) -> Any:
    defaults = {
        "dtype": bench.dtype_name,
        "max_model_len": MAX_MODEL_LEN,
        "max_num_seqs": 16,
        "enable_prefix_caching": False,
        "kv_cache_memory_bytes": 64 * 2**20,
        "enforce_eager": True,
    }
    return open_engine(bench.workplace, **{**defaults, **options})


# -- comparisons


def _same(bench: Bench, found: Sequence[Answer], expected: Sequence[Answer]) -> None:
    """Two runs of the same questions."""
    for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        what = f"request {number} ({len(mine.question.prompt)} prompt tokens)"
        if bench.tolerance.tokens_are_equal:
            bench.equal(f"{what}: tokens", mine.tokens, theirs.tokens)
        bench.equal(f"{what}: number of tokens", len(mine.tokens), len(theirs.tokens))
        _same_prompt(bench, what, mine, theirs)
        _same_way(bench, what, mine, theirs)


def _same_prompt(bench: Bench, what: str, mine: Answer, theirs: Answer) -> None:
    if not theirs.prompt_logprobs or not mine.question.scores_prompt:
        return
    bench.equal(f"{what}: scored prompt tokens", len(mine.prompt_logprobs), len(theirs.prompt_logprobs))
    found, expected = torch.tensor(mine.prompt_logprobs), torch.tensor(theirs.prompt_logprobs)
    bench.close(f"{what}: log-probabilities of the prompt", found, expected, bench.tolerance.logprob)


def _same_way(bench: Bench, what: str, mine: Answer, theirs: Answer) -> None:
    """Token by token until they part; they may part only where the two best are close (or at random)."""
    for position, (token, other) in enumerate(zip(mine.tokens, theirs.tokens, strict=True)):
        ours, expected = mine.logprobs[position], theirs.logprobs[position]
        common = ours.keys() & expected.keys()
        error = max((abs(ours[i] - expected[i]) for i in common), default=float("inf"))
        if token == other or common:
            bench.within(f"{what}: log-probabilities of token {position}", error, bench.tolerance.logprob)
        if token != other:
            if mine.question.seed is None:
                _may_part(bench, f"{what}: token {position}", token, other, expected)
            return


def _may_part(bench: Bench, what: str, token: int, other: int, expected: dict[int, float]) -> None:
    best, second = sorted(expected.values(), reverse=True)[:2]
    limit = 2 * bench.tolerance.logprob
    bench.holds(
        best - second <= limit,
        f"{what} is {token} instead of {other}, though the margin of the two best, {best - second:.3g}, exceeds {limit:.3g}",
    )


# -- the laws


@law()
def equals_dense_reference(bench: Bench) -> None:
    """Log-probabilities of prompts and of every generated token are those of the embedded model in dense fp32, on the same tokens."""
    model = embedded_model(bench.dtype_name)
    for number, answer in enumerate(_alone(bench)):
        prompt = answer.question.prompt
        what = f"request {number} ({len(prompt)} prompt tokens)"
        expected_TV = model.log_probs([*prompt, *answer.tokens])
        if answer.prompt_logprobs:
            wanted = expected_TV[torch.arange(len(prompt) - 1), torch.tensor(prompt[1:], dtype=torch.int64)]
            found = torch.tensor(answer.prompt_logprobs)
            bench.close(f"{what}: log-probabilities of the prompt", found, wanted, bench.tolerance.logprob)
        _follows_reference(bench, what, answer, expected_TV[len(prompt) - 1 : -1])


def _follows_reference(bench: Bench, what: str, answer: Answer, expected_TV: torch.Tensor) -> None:
    for position, (token, expected_V) in enumerate(zip(answer.tokens, expected_TV, strict=True)):
        error = max(abs(value - float(expected_V[i])) for i, value in answer.logprobs[position].items())
        bench.within(f"{what}: log-probabilities of token {position}", error, bench.tolerance.logprob)
        margin = float(expected_V.max() - expected_V[token])
        if answer.question.seed is None:
            bench.holds(
                margin <= 2 * bench.tolerance.logprob,
                f"{what}: token {position} is {token}, which the reference finds {margin:.3g} less likely than {int(expected_V.argmax())}",
            )


@law()
def batched_equals_alone(bench: Bench) -> None:
    """What a request gets does not depend on who runs beside it."""
    with _engine(bench, max_num_batched_tokens=2048) as engine:
        _same(bench, engine.ask(*_questions(bench)), _alone(bench))


@law(Feature.CHUNKED_PREFILL)
def chunked_equals_whole(bench: Bench) -> None:
    """A prompt computed in chunks, between others' decodes, gives what it gives whole."""
    with _engine(bench, max_num_batched_tokens=24, max_num_seqs=5, enable_chunked_prefill=True) as engine:
        _same(bench, engine.ask(*_questions(bench)), _alone(bench))


@law()
def used_blocks_change_nothing(bench: Bench) -> None:
    """Blocks that earlier requests left full, in whatever order they come back, change nothing."""
    with _engine(bench, max_num_seqs=6, num_gpu_blocks_override=_few_blocks(bench)) as engine:
        engine.ask(*(Question(prompt=prose()[i : i + 30 + 11 * i], max_tokens=3 + 5 * i, seed=i) for i in range(6)))
        _same(bench, engine.ask(*_questions(bench)), _alone(bench))


@law()
def preempted_equals_uninterrupted(bench: Bench) -> None:
    """A request whose blocks are taken away in mid-generation goes on as if nothing had happened."""
    block = bench.workplace.config(dtype=bench.dtype_name).cache_config.block_size
    length = max(2, 48 // block) * block - 6
    questions = [Question(prompt=prose()[3 * i : 3 * i + length], max_tokens=20) for i in range(4)]
    questions.append(Question(prompt=prose()[50 : 50 + length], max_tokens=20, seed=11))
    tight = max(-(-(length + 40) // block), 3 * (-(-length // block)))
    with _engine(bench, max_num_seqs=5, max_model_len=length + 40) as engine:
        expected = engine.ask_each_alone(questions)
    with _engine(bench, max_num_seqs=5, max_model_len=length + 40, num_gpu_blocks_override=tight) as engine:
        found = engine.ask(*questions)
    bench.holds(
        sum(answer.num_preemptions for answer in found), f"{tight} blocks preempted nobody: the law saw nothing"
    )
    _same(bench, found, expected)


@law(Feature.PREFIX_CACHING)
def cache_hit_equals_miss(bench: Bench) -> None:
    """A prompt whose beginning lies in the cache gives what it gives without, also where the same step fills the blocks."""
    questions = [question.unscored() for question in _questions(bench)]
    block = bench.workplace.config(dtype=bench.dtype_name).cache_config.block_size
    twins = [Question(prompt=prose()[: 2 * block + 3 + i], max_tokens=8, scores_prompt=False) for i in range(3)]
    with _engine(bench) as engine:
        expected_twins = engine.ask_each_alone(twins)
    with _engine(bench, enable_prefix_caching=True) as engine:
        _same(bench, engine.ask(*twins), expected_twins)
        first, again = engine.ask(*questions), engine.ask(*questions)
    bench.holds(
        sum(a.num_cached_tokens for a in again) > sum(a.num_cached_tokens for a in first),
        "the second time no further token came from the cache: the law saw nothing",
    )
    _same(bench, first, _alone(bench))
    _same(bench, again, _alone(bench))


@law(Feature.GRAPH_CAPTURE)
def captured_equals_eager(bench: Bench) -> None:
    """Replayed decode steps give what eager ones give, in full buckets and padded ones."""
    with _engine(bench, enforce_eager=False, cudagraph_capture_sizes=(1, 2, 4, 8)) as engine:
        _same(bench, engine.ask(*_questions(bench)), _alone(bench))
        _same(bench, engine.ask_each_alone(_questions(bench)), _alone(bench))


@law(Feature.ASYNC_SCHEDULING, quick=False)
def planned_ahead_equals_synchronous(bench: Bench) -> None:
    """Steps planned before the last one's tokens are known give the same tokens."""
    with _engine(bench, async_scheduling=True) as engine:
        _same(bench, engine.ask(*_questions(bench)), _alone(bench))


@law(Feature.TENSOR_PARALLEL, quick=False)
def two_ranks_equal_one(bench: Bench) -> None:
    """Two devices that share every layer give what one gives."""
    with _engine(bench, tensor_parallel_size=2) as engine:
        _same(bench, engine.ask(*_questions(bench)), _alone(bench))


def _few_blocks(bench: Bench) -> int:
    """Little more than one request of full length needs."""
    block = bench.workplace.config(dtype=bench.dtype_name).cache_config.block_size
    return -(-MAX_MODEL_LEN // block) + 4
