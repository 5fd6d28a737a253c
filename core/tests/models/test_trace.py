"""Every family's forward is traced whole, and a second step of the same shape needs no new trace."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from core.tests.models.checkpoints import FAMILIES, LONGEST, Family, random_texts
from core.tests.models.running import PagedRun, load
from core.tests.models.tensor_attention import TensorAttention

TRACED = (
    "llama",
    "llama-biased",
    "mistral-windowed",
    "qwen2-windowed",
    "qwen3-windowed",
    "granite",
    "gemma2",
    "exaone4",
    "mixtral-windowed",
    "qwen2-moe",
    "qwen3-moe-windowed",
)
"""One of each architecture, with windows where it has them; the kinds of rotation differ only in a table."""


@pytest.mark.parametrize("family", [each for each in FAMILIES if each.name in TRACED], ids=lambda family: family.name)
def test_forward_traces_whole_and_once(tmp_path: Path, family: Family) -> None:
    family.write(tmp_path)
    texts = random_texts((20, 20, 20))
    wanted = PagedRun(load(tmp_path, max_model_len=LONGEST), texts).finish(5)

    torch._dynamo.reset()
    counter = CompileCounter()
    model = load(tmp_path, max_model_len=LONGEST, attention=TensorAttention(torch.device("cpu")))
    model.forward = torch.compile(model.forward, fullgraph=True, backend=counter)  # type: ignore[method-assign]
    found = PagedRun(model, texts).finish(5)

    assert counter.frame_count == 1, "four steps of one shape"
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).abs().max() < 1e-4


def test_profiling_without_a_cache_traces_too(tmp_path: Path) -> None:
    FAMILIES[0].write(tmp_path)
    model = load(tmp_path)
    forward = torch.compile(model.forward, fullgraph=True, backend="eager")
    hidden_TX = forward(torch.zeros(6, dtype=torch.int32), torch.arange(6), [], None)
    assert hidden_TX.shape == (6, 64)
    assert torch.isfinite(hidden_TX).all()
