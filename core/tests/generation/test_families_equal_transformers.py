"""The whole engine against Transformers, every family, fp32: ragged prompts in chunks, cache hits, greedy tokens, the embedded model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
import transformers

from core.tests.generation.conftest import NewLLM
from core.tests.models.checkpoints import FAMILIES, LONGEST, Family, expected_log_probs, random_texts
from vllm import LLM, RequestOutput, SamplingParams, TokensPrompt

TOLERANCE = 1e-4
LENGTHS = (1, 15, 16, 17, 33, 50)
NEW_TOKENS = 8


def prompts_of(texts: Sequence[list[int]]) -> list[TokensPrompt]:
    return [TokensPrompt(prompt_token_ids=text) for text in texts]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_engine_equals_transformers(new_llm: NewLLM, tmp_path: Path, family: Family) -> None:
    """First with empty cache and prompts in chunks of at most 11 tokens, then the same prompts from the cache."""
    theirs, texts = family.write(tmp_path), random_texts(LENGTHS)
    llm = new_llm(
        str(tmp_path), skip_tokenizer_init=True, max_model_len=LONGEST, max_num_seqs=8, max_num_batched_tokens=11
    )
    params = SamplingParams(temperature=0.0, max_tokens=NEW_TOKENS, logprobs=3, ignore_eos=True, detokenize=False)
    scored = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=3, detokenize=False)
    for output in llm.generate(prompts_of(texts), scored, use_tqdm=False):
        assert_prompt_equals(theirs, output)
    computed = llm.generate(prompts_of(texts), params, use_tqdm=False)
    llm.reset_prefix_cache()
    missed = llm.generate(prompts_of(texts), params, use_tqdm=False)
    hits = llm.generate(prompts_of(texts), params, use_tqdm=False)
    assert [output.num_cached_tokens for output in missed] == [0] * len(texts)
    assert [output.num_cached_tokens for output in hits] == [(length - 1) // 16 * 16 for length in LENGTHS]
    for output in (*computed, *missed, *hits):
        assert_output_equals(theirs, output)


def assert_prompt_equals(theirs: transformers.PreTrainedModel, output: RequestOutput) -> None:
    """Each prompt token's log-probability, and those of the most likely tokens in its place."""
    ids, found = output.prompt_token_ids, output.prompt_logprobs
    assert ids is not None and found is not None and len(found) == len(ids) and found[0] is None
    wanted_TV = expected_log_probs(theirs, ids)
    for position, token in enumerate(ids[1:], start=1):
        entry = found[position]
        assert entry is not None and token in entry
        for each, logprob in entry.items():
            assert logprob.logprob == pytest.approx(float(wanted_TV[position - 1, each]), abs=TOLERANCE)


def assert_output_equals(theirs: transformers.PreTrainedModel, output: RequestOutput) -> None:
    """Greedy tokens are those of Transformers, which sees the whole text anew, and so are their log-probabilities."""
    completion = output.outputs[0]
    prompt, new = list(output.prompt_token_ids or ()), list(completion.token_ids)
    wanted_TV = expected_log_probs(theirs, prompt + new)[len(prompt) - 1 : -1]
    assert new == wanted_TV.argmax(-1).tolist() and len(new) == NEW_TOKENS
    for position, entry in enumerate(completion.logprobs or ()):
        assert entry is not None
        for each, logprob in entry.items():
            assert logprob.logprob == pytest.approx(float(wanted_TV[position, each]), abs=TOLERANCE)


@pytest.fixture(scope="module")
def whole_context() -> LLM:
    """The embedded model with its whole context."""
    return LLM(dtype="float32", max_num_seqs=4, max_num_batched_tokens=300)


@pytest.mark.parametrize("length", [1, 15, 16, 17, 600, 1100, 2047])
def test_the_embedded_model_at_every_length(whole_context: LLM, length: int) -> None:
    """One token, around the block, many chunks, and the longest prompt that leaves room for a token."""
    folder = whole_context.llm_engine.config.model_config.model
    theirs = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    ids = random_texts((length,), vocab_size=2048, seed=length)[0]
    params = SamplingParams(temperature=0.0, max_tokens=1, prompt_logprobs=0)
    (output,) = whole_context.generate(prompts_of([ids]), params, use_tqdm=False)
    assert_prompt_equals(theirs, output)
