"""Owns the limits of each `SamplingParams` field and the rules between fields. `verify_fields` normalises in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm import envs
from vllm import sampling_checks as check

if TYPE_CHECKING:
    from vllm.sampling_params import SamplingParams

__all__ = ["ALL_LOGPROBS", "GREEDY_BELOW_TEMPERATURE", "MAX_TEMPERATURE", "check_logprobs_limit", "verify_fields"]

GREEDY_BELOW_TEMPERATURE = 1e-5
MAX_TEMPERATURE = 2.0
MAX_PENALTY = 2.0
MAX_FACTOR = 1e6
"""Of repetition_penalty, up and down: beyond it logits leave the range of float32."""
SEED_RANGE = (-(2**63), 2**63 - 1)
ALL_LOGPROBS = -1
"""Value of `logprobs` and `prompt_logprobs` that asks for the whole vocabulary, as vLLM's users write it."""


def verify_fields(params: SamplingParams) -> None:
    """Normalise and check every field; raises InvalidRequestError."""
    _verify_numbers(params)
    _verify_choices(params)
    _verify_lengths(params)
    _verify_logprobs(params)
    _verify_stops(params)
    _verify_token_lists(params)


def _verify_numbers(p: SamplingParams) -> None:
    p.temperature = check.number("temperature", p.temperature, low=0.0, high=MAX_TEMPERATURE)
    p.top_p = check.number("top_p", p.top_p, low=0.0, high=1.0, low_excluded=True)
    p.min_p = check.number("min_p", p.min_p, low=0.0, high=1.0)
    p.presence_penalty = check.number("presence_penalty", p.presence_penalty, low=-MAX_PENALTY, high=MAX_PENALTY)
    p.frequency_penalty = check.number("frequency_penalty", p.frequency_penalty, low=-MAX_PENALTY, high=MAX_PENALTY)
    p.repetition_penalty = check.number("repetition_penalty", p.repetition_penalty, low=1 / MAX_FACTOR, high=MAX_FACTOR)


def _verify_choices(p: SamplingParams) -> None:
    p.top_k = max(0, check.integer("top_k", p.top_k, low=-1))
    seed = check.optional_integer("seed", p.seed, low=SEED_RANGE[0], high=SEED_RANGE[1])
    p.seed = None if seed == -1 else seed
    p.n = check.integer("n", p.n, low=1, high=envs.VLLM_MAX_N_SEQUENCES)
    if p.n > 1 and p.is_greedy:
        check.reject("n", p.n, "must be 1 where temperature is 0, because greedy outputs are all the same")


def _verify_lengths(p: SamplingParams) -> None:
    p.max_tokens = check.optional_integer("max_tokens", p.max_tokens, low=1)
    p.min_tokens = check.integer("min_tokens", p.min_tokens, low=0)
    if p.max_tokens is not None and p.min_tokens > p.max_tokens:
        check.reject("min_tokens", p.min_tokens, f"must not be above max_tokens={p.max_tokens}")
    p.stream_interval = check.optional_integer("stream_interval", p.stream_interval, low=1)


def _verify_logprobs(p: SamplingParams) -> None:
    p.logprobs = check.optional_integer("logprobs", p.logprobs, low=ALL_LOGPROBS)
    p.prompt_logprobs = check.optional_integer("prompt_logprobs", p.prompt_logprobs, low=ALL_LOGPROBS)
    if p.logprob_token_ids is not None:
        p.logprob_token_ids = check.integer_list("logprob_token_ids", p.logprob_token_ids)


def check_logprobs_limit(name: str, wanted: int | None, vocab_size: int, max_logprobs: int) -> None:
    """Raise if more log-probabilities per token are wanted than the engine permits."""
    if wanted is None or max_logprobs == ALL_LOGPROBS:
        return
    count = vocab_size if wanted == ALL_LOGPROBS else wanted
    if count > max_logprobs:
        said = f", and {wanted} means all {vocab_size}" if wanted == ALL_LOGPROBS else ""
        check.reject(name, wanted, f"must be at most {max_logprobs} (`--max-logprobs` of the engine){said}")


def _verify_stops(p: SamplingParams) -> None:
    p.stop = check.string_list("stop", p.stop)
    p.stop_token_ids = check.integer_list("stop_token_ids", p.stop_token_ids)
    limit = envs.VLLM_MAX_STOP_STRINGS
    if len(p.stop) > limit:
        check.reject("stop", p.stop, f"must hold at most {limit} strings (VLLM_MAX_STOP_STRINGS)")
    if p.stop and not p.detokenize:
        check.reject("stop", p.stop, "needs text to look in, so `detokenize` must be True")


def _verify_token_lists(p: SamplingParams) -> None:
    if p.logit_bias is not None:
        p.logit_bias = check.logit_bias_map("logit_bias", p.logit_bias)
    if p.allowed_token_ids is not None:
        p.allowed_token_ids = check.integer_list("allowed_token_ids", p.allowed_token_ids)
        if not p.allowed_token_ids:
            check.reject("allowed_token_ids", [], "must hold at least one id, or be None for all")
    p.bad_words = check.string_list("bad_words", p.bad_words)
