"""Owns how two runs of the same questions are compared, and a run with the dense reference; one measurement per request and kind.

In fp32 tokens are equal. In 16 bits log-probabilities stay within the tolerance for as long as two runs have the same tokens before them
(teacher forcing), and tokens must agree wherever the margin of the two best exceeds twice the tolerance.

Legend: T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from vllm.testing.reference_model import ReferenceModel, embedded_model

if TYPE_CHECKING:
    from vllm.testing.bench import Bench
    from vllm.testing.engines import Answer

__all__ = ["follows_reference", "same_answers"]


def same_answers(bench: Bench, found: Sequence[Answer], expected: Sequence[Answer]) -> None:
    """Raise LawBroken unless two runs gave the same, as the dtype allows."""
    bench.equal("number of answers", len(found), len(expected))
    for number, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        what = _name(number, mine)
        bench.equal(f"{what}: number of tokens", len(mine.tokens), len(theirs.tokens))
        if bench.tolerance.tokens_are_equal:
            bench.equal(f"{what}: tokens", mine.tokens, theirs.tokens)
        if mine.question.scores_prompt:
            _same_prompt(bench, what, mine.prompt_logprobs, theirs.prompt_logprobs)
        _same_way(bench, what, mine, theirs)


def follows_reference(bench: Bench, answers: Sequence[Answer], model: ReferenceModel | None = None) -> None:
    """Raise LawBroken unless every log-probability is dense fp32's for the same tokens, and every greedy token its best or close to it.

    Args:
        model: instead of the embedded one.
    """
    model = model or embedded_model(bench.dtype_name)
    for number, answer in enumerate(answers):
        prompt, what = answer.question.prompt, _name(number, answer)
        expected_TV = model.log_probs([*prompt, *answer.tokens])
        if answer.prompt_logprobs:
            own = expected_TV[torch.arange(len(prompt) - 1), torch.tensor(prompt[1:])]
            _same_prompt(bench, what, answer.prompt_logprobs, own.tolist())
        _follow(bench, what, answer, expected_TV[len(prompt) - 1 : -1])


def _name(number: int, answer: Answer) -> str:
    kind = "greedy" if answer.question.seed is None else f"seed {answer.question.seed}"
    return f"request {number} ({len(answer.question.prompt)} prompt tokens, {kind})"


def _same_prompt(bench: Bench, what: str, found: Sequence[float], expected: Sequence[float]) -> None:
    bench.equal(f"{what}: scored prompt tokens", len(found), len(expected))
    errors = [abs(mine - theirs) for mine, theirs in zip(found, expected, strict=True)]
    _measure(bench, f"{what}: log-probabilities of the prompt", errors)


def _same_way(bench: Bench, what: str, mine: Answer, theirs: Answer) -> None:
    """Token by token until they part; they may part only where the two best are close (or at random)."""
    errors: list[float] = []
    for position, (token, other) in enumerate(zip(mine.tokens, theirs.tokens, strict=True)):
        ours, expected = mine.logprobs[position], theirs.logprobs[position]
        errors += [abs(ours[i] - expected[i]) for i in ours.keys() & expected.keys()]
        if token != other:
            if mine.question.seed is None:
                best, second = sorted(expected.values(), reverse=True)[:2]
                _may_differ(bench, f"{what}: token {position} is {token} instead of {other}", best - second)
            break
    _measure(bench, f"{what}: log-probabilities of the tokens", errors)


def _follow(bench: Bench, what: str, answer: Answer, expected_TV: torch.Tensor) -> None:
    errors: list[float] = []
    for position, (token, expected_V) in enumerate(zip(answer.tokens, expected_TV, strict=True)):
        errors += [abs(value - float(expected_V[i])) for i, value in answer.logprobs[position].items()]
        if answer.question.seed is None:
            best = int(expected_V.argmax())
            shortfall = float(expected_V[best] - expected_V[token])
            _may_differ(bench, f"{what}: token {position} is {token}, the reference's best is {best}", shortfall)
    _measure(bench, f"{what}: log-probabilities of the tokens", errors)


def _may_differ(bench: Bench, what: str, margin: float) -> None:
    limit = 2 * bench.tolerance.logprob
    bench.holds(margin <= limit, f"{what}, {margin:.3g} more likely; they may differ only within {limit:.3g}")


def _measure(bench: Bench, what: str, errors: Sequence[float]) -> None:
    """The largest error, and over a whole request their mean, which rounding leaves small."""
    if errors:
        worst = max(range(len(errors)), key=errors.__getitem__)
        bench.within(what, errors[worst], bench.tolerance.logprob, f"the worst is number {worst} of {len(errors)}")
        bench.within(f"{what}, mean", sum(errors) / len(errors), bench.tolerance.mean_logprob)
