"""An attention backend from outside: the user names it with `--attention-backend`, or a platform does. It lays out its own cache."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from core.tests.extension_points.engines import assert_refused, example_engine, generated, plain_tokens
from vllm.attention.backends.abstract import AttentionSpec
from vllm.config.engine_args import EngineArgs
from vllm.errors import ConfigError
from vllm_cpu_ref.attention import PagedMetadata, PagedTorchAttention
from vllm_cpu_ref.platform import CpuRefPlatform


class OneTensorAttention(PagedTorchAttention):
    """Keys and values of a layer in one tensor [2, blocks, block_size, K, D], whose blocks hold a multiple of 32 tokens."""

    block_size_multiple = 32

    def kv_cache_shapes(
        self, num_blocks: int, block_size: int, num_kv_heads: int, head_size: int
    ) -> tuple[tuple[int, ...], ...]:
        return ((2, num_blocks, block_size, num_kv_heads, head_size),)

    def clear_blocks(self, kv_cache: tuple[torch.Tensor, ...], block_ids_A: torch.Tensor) -> None:
        """Dimension 1 is the block here."""
        (both,) = kv_cache
        both.index_fill_(1, block_ids_A, 0)

    def forward(
        self,
        q_THD: torch.Tensor,
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        kv_cache: tuple[torch.Tensor, ...],
        metadata: PagedMetadata,
        spec: AttentionSpec,
    ) -> torch.Tensor:
        (both,) = kv_cache
        return super().forward(q_THD, k_TKD, v_TKD, (both[0], both[1]), metadata, spec)


class NarrowAttention(PagedTorchAttention):
    supported_head_sizes = (80, 96)


class OneTensorPlatform(CpuRefPlatform):
    def get_attn_backend_cls(self) -> str:
        return f"{__name__}.OneTensorAttention"


def path_of(backend: type) -> str:
    return f"{__name__}.{backend.__name__}"


def test_by_the_users_dotted_path() -> None:
    with example_engine(attention_backend=path_of(OneTensorAttention), block_size=32) as engine:
        assert generated(engine) == plain_tokens()
        shapes = engine.collective_rpc(lambda worker: [len(cache) for cache in worker.runner.kv_caches])
        assert shapes == [[1, 1, 1, 1]], "one tensor per layer"


def test_by_the_platform() -> None:
    with example_engine(OneTensorPlatform, block_size=64) as engine:
        assert generated(engine) == plain_tokens()


@pytest.mark.parametrize(
    "options, said",
    [
        (
            {"attention_backend": path_of(OneTensorAttention), "block_size": 16},
            "block-size 16; it needs a multiple of 32",
        ),
        ({"attention_backend": path_of(NarrowAttention)}, "head size of 64 .* it can 80, 96"),
        ({"attention_backend": f"{__name__}.OneTensorAttentio"}, "Did you mean: OneTensorAttention"),
    ],
)
def test_a_misfit_is_refused_before_weights_are_loaded(options: dict[str, Any], said: str) -> None:
    assert_refused(ConfigError, said, **options)


def test_the_flag_exists() -> None:
    assert EngineArgs(attention_backend="a.B").attention_backend == "a.B"
