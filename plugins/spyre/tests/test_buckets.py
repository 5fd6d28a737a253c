"""The choice of shapes, by hand, and that it wastes less than the rule of thumb."""

from __future__ import annotations

import pytest

from benchmarks import spyre_padding
from vllm.config import ModelConfig, SchedulerConfig, VllmConfig
from vllm_spyre.buckets import batch_buckets, constraints, context_buckets, step_cost_tokens
from vllm_spyre.settings import Settings


@pytest.mark.parametrize(
    ("most_rows", "given", "expected"),
    [(1, None, (1,)), (6, None, (1, 2, 4, 6)), (8, None, (1, 2, 4, 8)), (3, (1, 4), (1, 3)), (4, (2, 4), (2, 4))],
)
def test_batch_sizes(most_rows: int, given: tuple[int, ...] | None, expected: tuple[int, ...]) -> None:
    assert batch_buckets(most_rows, given) == expected


@pytest.mark.parametrize(
    ("model_len", "chunk", "given", "expected"),
    [
        (2048, 512, None, (256, 512, 1024, 2048)),
        (700, 512, None, (256, 512, 1024)),
        (100, 128, None, (128,)),
        (600, 128, (320, 640), (128, 320, 640)),
        (300, 64, (64, 320, 4096), (64, 320)),
        (2900, 64, (64, 320), (64, 320, 3008)),
        (2900, 512, None, (256, 512, 1024, 2048, 3008)),
    ],
)
def test_contexts(model_len: int, chunk: int, given: tuple[int, ...] | None, expected: tuple[int, ...]) -> None:
    """The card holds 3,008 tokens here."""
    assert context_buckets(model_len, chunk, 3008, given) == expected


def test_the_fixed_part_of_a_step() -> None:
    """Per layer: 4 × 16 × (2 + 1) × 2 projections and 3 × 4 × 10 in the MLP; a token keeps 2 × 1 × 16 values."""
    shape = {
        "hidden_size": 4,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "intermediate_size": 10,
    }
    assert step_cost_tokens(shape) == (384 + 120) // 32


def test_what_the_card_asks() -> None:
    config = VllmConfig(
        model_config=ModelConfig(model="m", served_model_name="m", tokenizer="m", max_model_len=100_000),
        scheduler_config=SchedulerConfig(max_num_seqs=6),
    )
    limits = constraints(
        config, Settings.read({"VLLM_SPYRE_GROUP_DECODES": "0", "VLLM_SPYRE_WARMUP_CHUNK_LENS": "128,512"})
    )
    assert (limits.default_block_size, limits.prefill_chunk_tokens, limits.token_buckets) == (64, 512, (128, 512))
    assert (limits.max_concurrent_prefills, limits.mixes_prefill_and_decode, limits.padding_side) == (1, False, "left")
    assert (limits.decode_batch_buckets, limits.context_buckets[-1], limits.max_model_len) == (
        (1, 2, 4, 6),
        32768,
        32768,
    )
    assert limits.decode_step_cost_tokens is None


def test_rows_that_take_turns_waste_less() -> None:
    lines = spyre_padding.measure("mixed", requests=24, rows=8, seeds=1)
    rule_of_thumb, repacked, plugin, short_ends, *_ = lines
    assert rule_of_thumb["context"] < repacked["context"] < plugin["context"]
    assert rule_of_thumb["cost"] > repacked["cost"] > plugin["cost"]
    assert plugin["tokens"] < short_ends["tokens"]
