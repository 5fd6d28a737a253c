"""Sizes settled between user, defaults and platform: the user's are kept or refused, open ones are fitted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from core.tests.settable_platform import SettablePlatform
from vllm.config import VllmConfig
from vllm.config.engine_args import EngineArgs
from vllm.config.resolve import create_engine_config
from vllm.errors import ConfigError
from vllm.platforms.constraints import SchedulingConstraints

WriteModel = Callable[..., str]


def _resolve(model: str, options: dict[str, Any], **constraints: Any) -> VllmConfig:
    platform = SettablePlatform(constraints=SchedulingConstraints(**constraints))
    return create_engine_config(EngineArgs(model=model, **options), platform)


def _sizes(config: VllmConfig) -> tuple[int, int, int, int]:
    scheduler = config.scheduler_config
    context = config.model_config.max_model_len
    return scheduler.max_num_seqs, scheduler.max_num_batched_tokens, context, config.cache_config.block_size


@pytest.mark.parametrize(
    "options, constraints, sizes",
    [
        ({}, {}, (256, 2048, 4096, 16)),
        ({"max_num_seqs": 3000}, {}, (3000, 3000, 4096, 16)),
        ({"enable_chunked_prefill": False}, {}, (256, 4096, 4096, 16)),
        ({"enable_chunked_prefill": False, "max_model_len": 100}, {}, (256, 2048, 100, 16)),
        ({"max_num_batched_tokens": 300}, {}, (256, 300, 4096, 16)),
        ({"max_num_batched_tokens": 100}, {}, (100, 100, 4096, 16)),
        ({}, {"token_buckets": (16, 64)}, (64, 64, 4096, 16)),
        ({}, {"decode_batch_buckets": (1, 8), "token_buckets": (64, 512)}, (8, 512, 4096, 16)),
        ({"max_num_seqs": 5}, {"decode_batch_buckets": (1, 8)}, (5, 2048, 4096, 16)),
        ({}, {"max_model_len": 1024}, (256, 2048, 1024, 16)),
        ({}, {"prefill_chunk_tokens": 4096}, (256, 4096, 4096, 16)),
        ({}, {"default_block_size": 128, "block_size_multiple": 64}, (256, 2048, 4096, 128)),
        ({"block_size": 192}, {"default_block_size": 128, "block_size_multiple": 64}, (256, 2048, 4096, 192)),
    ],
)
def test_sizes_that_fit(
    write_model: WriteModel, options: dict[str, Any], constraints: dict[str, Any], sizes: tuple[int, ...]
) -> None:
    assert _sizes(_resolve(write_model(), options, **constraints)) == sizes


@pytest.mark.parametrize(
    "options, constraints, words",
    [
        (
            {"max_num_batched_tokens": 100, "max_num_seqs": 200},
            {},
            r"--max-num-batched-tokens\) is 100, but max_num_seqs .* is 200",
        ),
        (
            {"max_num_batched_tokens": 2000, "enable_chunked_prefill": False},
            {},
            r"is 2000, but max_model_len .* is 4096(.|\n)*--enable-chunked-prefill on",
        ),
        ({"max_num_seqs": 9}, {"decode_batch_buckets": (1, 8)}, r"--max-num-seqs\) is 9, .* at most 8 requests"),
        ({"max_num_batched_tokens": 513}, {"token_buckets": (64, 512)}, "at most 512 tokens in one step"),
        ({"max_num_seqs": 600}, {"token_buckets": (64, 512)}, r"would be 2048 \(at least max_num_seqs"),
        (
            {"max_model_len": 2048},
            {"max_model_len": 1024},
            "--max-model-len.* is 2048, .* at most 1024 tokens per sequence",
        ),
        ({"block_size": 100}, {"block_size_multiple": 64}, r"--block-size\) is 100, .* multiple of 64"),
        (
            {"max_num_seqs": 8, "max_num_batched_tokens": 64},
            {"prefill_chunk_tokens": 512},
            "the platform's prefill chunk is 512",
        ),
    ],
)
def test_sizes_that_cannot_be(
    write_model: WriteModel, options: dict[str, Any], constraints: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        _resolve(write_model(), options, **constraints)
