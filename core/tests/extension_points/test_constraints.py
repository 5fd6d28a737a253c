"""Scheduling constraints as data: block size, buckets and chunks of a static-shape device, obeyed by the core's own scheduler."""

from __future__ import annotations

import pytest

from core.tests.extension_points.engines import example_engine, generated, plain_tokens
from vllm.config import VllmConfig
from vllm.errors import ConfigError
from vllm.platforms import SchedulingConstraints
from vllm_cpu_ref.platform import CpuRefPlatform


class StaticPlatform(CpuRefPlatform):
    """Blocks of 64 tokens, prompts one at a time in chunks of 8, decodes of 2 or 4 rows, never both in one step."""

    def scheduling_constraints(self, config: VllmConfig) -> SchedulingConstraints:
        return SchedulingConstraints(
            block_size_multiple=64,
            default_block_size=64,
            max_concurrent_prefills=1,
            prefill_chunk_tokens=8,
            mixes_prefill_and_decode=False,
            decode_batch_buckets=(2, 4),
            token_buckets=(8,),
        )


def test_shapes_are_the_devices_and_the_tokens_stay() -> None:
    with example_engine(StaticPlatform, max_num_seqs=None) as engine:
        assert engine.config.cache_config.block_size == 64
        assert engine.config.scheduler_config.max_num_seqs == 4, "the largest bucket"
        assert generated(engine) == plain_tokens()


def test_a_block_size_that_the_device_cannot_do_is_refused() -> None:
    with (
        pytest.raises(ConfigError, match="multiple of 64"),
        example_engine(StaticPlatform, max_num_seqs=4, block_size=32),
    ):
        pass
