"""The embedded model equals Transformers on long prompts, and goes on counting."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import transformers

import vllm
from core.tests.models.checkpoints import expected_log_probs
from core.tests.models.running import BLOCK_SIZE, PagedRun, load
from vllm.model_executor.models.interface import CausalLM

TINY = Path(vllm.__file__).parent / "assets" / "tiny"
LENGTHS = (1, BLOCK_SIZE - 1, BLOCK_SIZE, BLOCK_SIZE + 1, 600, 1100, 2047)


@pytest.fixture(scope="module")
def ours() -> CausalLM:
    return load(TINY)


@pytest.fixture(scope="module")
def theirs() -> transformers.PreTrainedModel:
    return transformers.AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)


@pytest.fixture(scope="module")
def text() -> list[int]:
    """Real text: the licence of this repository, again and again."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(TINY)
    return tokenizer(pydoc_text()).input_ids[: max(LENGTHS)]


def pydoc_text() -> str:
    """Prose of the kind that the model was trained on."""
    from pydoc_data.topics import topics

    return "\n".join(topics[name] for name in sorted(topics))[:20000]


def test_prompt_log_probabilities_equal_transformers(
    ours: CausalLM, theirs: transformers.PreTrainedModel, text: list[int]
) -> None:
    texts = [text[:length] for length in LENGTHS]
    assert [len(each) for each in texts] == list(LENGTHS)
    for each, found in zip(texts, PagedRun(ours, texts).finish(512), strict=True):
        assert (found - expected_log_probs(theirs, each)).abs().max() < 1e-4, f"{len(each)} tokens"


def test_it_goes_on_counting(ours: CausalLM) -> None:
    tokenizer = transformers.AutoTokenizer.from_pretrained(TINY)
    prompt = tokenizer("Count: 17 18 19").input_ids
    out = PagedRun(ours, [prompt]).greedy(16, chunk=64)[0]
    assert tokenizer.decode(out).startswith(" 20 21 22")
