"""Limits that were cut for want of memory: how far, and how they come back."""

from __future__ import annotations

import pytest

from vllm.config import ModelConfig, SchedulerConfig, VllmConfig
from vllm.engine.scheduler.limits import STEPS_BEFORE_GROWTH, StepLimits
from vllm.platforms.constraints import SchedulingConstraints


def limits(*, chunked: bool = True, constraints: SchedulingConstraints | None = None) -> StepLimits:
    model = ModelConfig(model="m", served_model_name="m", tokenizer="m", max_model_len=256)
    scheduler = SchedulerConfig(max_num_seqs=64, max_num_batched_tokens=512, enable_chunked_prefill=chunked)
    return StepLimits(
        VllmConfig(model_config=model, scheduler_config=scheduler), constraints or SchedulingConstraints(), 16
    )


def test_a_failed_step_is_halved_and_the_limit_comes_back_by_doubling() -> None:
    cut = limits()
    assert cut.shrink(300, has_prefill=True)
    assert (cut.max_tokens, cut.max_tokens_with_prefill) == (150, 150)
    for wanted in (300, 512, 512):
        for _ in range(STEPS_BEFORE_GROWTH - 1):
            cut.note_step()
        before = cut.max_tokens
        cut.note_step()
        assert (before, cut.max_tokens) == (max(wanted // 2, before), wanted)
    assert cut.max_tokens_with_prefill == 512


def test_one_token_cannot_be_halved() -> None:
    assert not limits().shrink(1, has_prefill=False)


@pytest.mark.parametrize("constraints, piece", [(None, 256), (SchedulingConstraints(prefill_chunk_tokens=128), 128)])
def test_a_prompt_that_comes_in_whole_pieces_keeps_its_room(
    constraints: SchedulingConstraints | None, piece: int
) -> None:
    cut = limits(chunked=constraints is not None, constraints=constraints)
    assert not cut.shrink(2 * piece - 1, has_prefill=True), "half of it holds no piece"
    assert cut.shrink(40, has_prefill=False), "fewer decode rows are possible"
    assert (cut.max_tokens, cut.max_tokens_with_prefill) == (20, 512)
    assert cut.chunk_tokens(piece, cut.max_tokens_with_prefill) == piece
