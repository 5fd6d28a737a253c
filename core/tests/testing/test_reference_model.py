"""The kit's own dense model equals Transformers on the embedded checkpoint."""

from __future__ import annotations

import torch
import transformers

from vllm.testing.reference_model import TINY, embedded_model
from vllm.testing.texts import counting, prose


def test_log_probabilities_equal_transformers() -> None:
    theirs = transformers.AutoModelForCausalLM.from_pretrained(TINY, dtype=torch.float32)
    for text in (prose()[:1], prose()[:300], counting(17)):
        with torch.no_grad():
            expected_TV = theirs(torch.tensor([list(text)])).logits[0].log_softmax(-1)
        found_TV = embedded_model("float32").log_probs(text)
        assert (found_TV - expected_TV).abs().max() < 1e-4


def test_there_is_enough_prose() -> None:
    assert len(prose()) > 400
    assert len(set(prose())) > 100
