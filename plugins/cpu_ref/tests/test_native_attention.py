"""The attention kernel against its twin in plain torch, on every instruction set that this processor has; and what it adds: a row's result
depends on the row alone, to the last bit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from vllm.attention.backends.abstract import AttentionBatch, AttentionSpec
from vllm_cpu_ref.attention import PagedTorchAttention
from vllm_cpu_ref.native import library
from vllm_cpu_ref.native.attention import NativeMetadata, NativePagedAttention

KERNELS: Any = library.kernels()
pytestmark = pytest.mark.skipif(KERNELS is None, reason="the kernels are not compiled")
HOST = torch.device("cpu")
ROWS = [(1, 1), (17, 1), (130, 1), (64, 1), (33, 33), (200, 71), (64, 64), (65, 2), (400, 130)]
"""(context after the step, tokens of the step): one-token rows first, lengths around the kernel's tiles of 64 keys."""
TOLERANCE = {torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}


@pytest.fixture(params=["PLAIN", "AVX2", "AVX512"], autouse=True)
def instruction_set(request: pytest.FixtureRequest) -> Iterator[None]:
    before = KERNELS.instruction_set()
    try:
        KERNELS.use(request.param)
    except ValueError as error:
        pytest.skip(str(error))
    yield
    KERNELS.use(before)


def batch_of(rows: list[tuple[int, int]], block_size: int, table_NB: np.ndarray) -> AttentionBatch:
    """Stale columns hold an id that lies outside any cache."""
    lens_N, counts_N = np.array(rows).T
    slots = [
        table_NB[row, p // block_size] * block_size + p % block_size
        for row, (end, count) in enumerate(rows)
        for p in range(end - count, end)
    ]
    stale_NB = table_NB.copy()
    for row, end in enumerate(lens_N):
        stale_NB[row, -(-end // block_size) :] = 2**30
    return AttentionBatch(
        query_start_N1=np.concatenate([[0], np.cumsum(counts_N)]).astype(np.int32),
        seq_lens_N=lens_N.astype(np.int32),
        block_table_NB=stale_NB,
        slot_mapping_T=np.array(slots, np.int64),
        num_decode_rows=int((counts_N == 1).sum()),
        block_size=block_size,
    )


def table_of(rows: list[tuple[int, int]], block_size: int) -> tuple[np.ndarray, int]:
    """Scattered blocks for every row, and how many there are with the null block."""
    columns = -(-max(end for end, _ in rows) // block_size)
    ids = np.random.default_rng(5).permutation(len(rows) * columns).reshape(len(rows), columns) + 1
    return ids.astype(np.int32), ids.size + 1


def history(num_blocks: int, block_size: int, K: int, D: int, dtype: torch.dtype) -> tuple[torch.Tensor, ...]:
    """Contexts before the step, [blocks, block_size, K, D] of keys and of values."""
    return tuple(torch.randn(num_blocks, block_size, K, D).to(dtype) for _ in range(2))


def across(k_cache: torch.Tensor, v_cache: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """As the kernel keeps them."""
    return k_cache.permute(0, 2, 3, 1).contiguous(), v_cache.permute(0, 2, 1, 3).contiguous()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(
    ("block_size", "heads", "head_size", "window", "cap"),
    [
        (16, (4, 2), 64, None, None),
        (16, (7, 1), 80, 5, None),
        (128, (4, 4), 64, 40, 3.0),
        (48, (32, 1), 128, None, 3.0),
        (4, (4, 2), 20, 40, None),
        (1, (7, 1), 40, None, None),
        (16, (12, 1), 24, 70, None),
    ],
)
def test_it_equals_its_twin(
    block_size: int, heads: tuple[int, int], head_size: int, window: int | None, cap: float | None, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    H, K, D = *heads, head_size
    table_NB, num_blocks = table_of(ROWS, block_size)
    batch = batch_of(ROWS, block_size, table_NB)
    spec = AttentionSpec(
        num_heads=H, num_kv_heads=K, head_size=D, scale=D**-0.5, sliding_window=window, logits_soft_cap=cap
    )
    T = int(batch.query_start_N1[-1])
    fused_TGD = torch.randn(T, H + 2 * K, D + 3).to(dtype)[..., :D]  # views with strides of their own
    q_THD, k_TKD, v_TKD = fused_TGD.split((H, K, K), dim=1)
    wanted_cache = history(num_blocks, block_size, K, D, dtype)
    found_cache = across(*wanted_cache)
    twin, native = PagedTorchAttention(HOST), NativePagedAttention(HOST)
    assert [each.shape for each in found_cache] == [
        torch.Size(shape) for shape in native.kv_cache_shapes(num_blocks, block_size, K, D)
    ]
    wanted_THD = twin.forward(q_THD, k_TKD, v_TKD, wanted_cache, twin.build_metadata(batch), spec)
    metadata = native.build_metadata(batch)
    assert isinstance(metadata, NativeMetadata)
    found_THD = native.forward(q_THD, k_TKD, v_TKD, found_cache, metadata, spec)
    torch.testing.assert_close(found_THD, wanted_THD, atol=TOLERANCE[dtype], rtol=0)
    assert all(torch.equal(found, wanted) for found, wanted in zip(found_cache, across(*wanted_cache), strict=True))


def attended(
    rows: list[tuple[int, int]],
    tokens: tuple[torch.Tensor, ...],
    which: list[int],
    table_NB: np.ndarray,
    num_blocks: int,
) -> torch.Tensor:
    """Output of some rows, whose whole contexts are `tokens`, [R, tokens, heads, 64]; each prompt up to then is in the cache."""
    native, (q, k, v) = NativePagedAttention(HOST), tokens
    cache = tuple(torch.full(shape, float("nan")) for shape in native.kv_cache_shapes(num_blocks, 16, 2, 64))
    spec = AttentionSpec(num_heads=4, num_kv_heads=2, head_size=64, scale=0.125)
    before = [(end - count, end - count) for end, count in rows]
    for step in (before, rows):
        kept = [i for i, (_, count) in enumerate(step) if count]
        if kept:
            cut = [(which[i], slice(step[i][0] - step[i][1], step[i][0])) for i in kept]
            batch = batch_of([step[i] for i in kept], 16, table_NB[[which[i] for i in kept]])
            new = [torch.cat([each[row, stretch] for row, stretch in cut]) for each in (q, k, v)]
            out_THD = native.forward(*new, cache, native.build_metadata(batch), spec)
    return out_THD


def test_a_row_depends_on_itself_alone_to_the_last_bit() -> None:
    """Alone or in a batch, in one piece or token by token; and what nobody wrote, here NaN, does no harm."""
    torch.manual_seed(1)
    rows = [(90, 1), (64, 1), (130, 3), (100, 37), (129, 129)]
    tokens = tuple(torch.randn(5, 130, heads, 64) for heads in (4, 2, 2))
    table_NB, num_blocks = table_of(rows, 16)
    together_THD = attended(rows, tokens, list(range(5)), table_NB, num_blocks)
    at = 0
    for row, (end, count) in enumerate(rows):
        alone_THD = attended([(end, count)], tokens, [row], table_NB, num_blocks)
        assert torch.equal(together_THD[at : at + count], alone_THD)
        last_THD = attended([(end, 1)], tokens, [row], table_NB, num_blocks)
        assert torch.equal(alone_THD[-1:], last_THD)
        at += count


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("window", [None, 40])
def test_neither_blocks_nor_cuts_change_a_bit(dtype: torch.dtype, window: int | None) -> None:
    """The last token of 150, alone or with up to 149 before it, in blocks that are read as they lie and in others."""
    torch.manual_seed(4)
    native = NativePagedAttention(HOST)
    q_THD, k_TKD, v_TKD = (torch.randn(150, heads, 64).to(dtype) for heads in (6, 2, 2))
    spec = AttentionSpec(num_heads=6, num_kv_heads=2, head_size=64, scale=0.125, sliding_window=window)
    found = []
    for block_size in (16, 1, 4, 48, 128):
        table_NB, num_blocks = table_of([(150, 150)], block_size)
        shapes = native.kv_cache_shapes(num_blocks, block_size, 2, 64)
        cache = tuple(torch.zeros(shape, dtype=dtype) for shape in shapes)
        for count in (150, 1, 3, 13, 65):  # the first one fills the cache
            metadata = native.build_metadata(batch_of([(150, count)], block_size, table_NB))
            found.append(native.forward(q_THD[-count:], k_TKD[-count:], v_TKD[-count:], cache, metadata, spec)[-1])
    assert all(torch.equal(each, found[0]) for each in found)


def test_the_result_has_the_queries_dtype_whatever_the_cache_has() -> None:
    """`--kv-cache-dtype float32` with a model in bfloat16."""
    torch.manual_seed(3)
    table_NB, num_blocks = table_of([(20, 20)], 16)
    batch = batch_of([(20, 20)], 16, table_NB)
    spec = AttentionSpec(num_heads=4, num_kv_heads=2, head_size=32, scale=0.2)
    tokens = [torch.randn(20, heads, 32, dtype=torch.bfloat16) for heads in (4, 2, 2)]
    found_THD, wanted_THD = (
        backend.forward(*tokens, tuple(map(torch.zeros, shapes)), backend.build_metadata(batch), spec)
        for backend in (NativePagedAttention(HOST), PagedTorchAttention(HOST))
        for shapes in [backend.kv_cache_shapes(num_blocks, 16, 2, 32)]
    )
    assert found_THD.dtype is torch.bfloat16
    torch.testing.assert_close(found_THD, wanted_THD, atol=TOLERANCE[torch.bfloat16], rtol=0)


def test_padding_comes_out_as_zeros() -> None:
    table_NB, num_blocks = table_of([(3, 3)], 16)
    batch = replace(batch_of([(3, 3)], 16, table_NB), slot_mapping_T=np.array([16, 17, 18, 0, 1]))
    native = NativePagedAttention(HOST)
    cache = tuple(torch.zeros(shape) for shape in native.kv_cache_shapes(num_blocks, 16, 2, 64))
    spec = AttentionSpec(num_heads=4, num_kv_heads=2, head_size=64, scale=0.125)
    tokens = [torch.randn(5, heads, 64) for heads in (4, 2, 2)]
    out_THD = native.forward(*tokens, cache, native.build_metadata(batch), spec)
    assert out_THD[:3].count_nonzero() and not out_THD[3:].count_nonzero()


def test_it_traces_as_one_graph() -> None:
    torch.manual_seed(2)
    table_NB, num_blocks = table_of(ROWS, 16)
    batch = batch_of(ROWS, 16, table_NB)
    native = NativePagedAttention(HOST)
    spec = AttentionSpec(num_heads=4, num_kv_heads=2, head_size=32, scale=0.2)
    T = int(batch.query_start_N1[-1])
    tokens = [torch.randn(T, heads, 32) for heads in (4, 2, 2)]
    caches = [tuple(torch.zeros(shape) for shape in native.kv_cache_shapes(num_blocks, 16, 2, 32)) for _ in range(2)]
    metadata = native.build_metadata(batch)
    compiled = torch.compile(native.forward, fullgraph=True, backend="eager")
    traced_THD = compiled(*tokens, caches[0], metadata, spec)
    assert torch.equal(traced_THD, native.forward(*tokens, caches[1], metadata, spec))
    assert torch.equal(caches[0][0], caches[1][0])
