"""The paged backend against the dense oracle: ragged rows, scattered blocks, windows, grouped queries, chunks, dtypes, tracing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import torch

from vllm.attention.backends.abstract import AttentionBackend, AttentionBatch, AttentionSpec
from vllm.testing.dense_attention import DenseAttention
from vllm_cpu_ref import attention
from vllm_cpu_ref.attention import PagedTorchAttention

BLOCK_SIZE = 16
HOST = torch.device("cpu")
SPEC = AttentionSpec(num_heads=4, num_kv_heads=2, head_size=32, scale=0.2)
STALE = 61
"""Block of garbage that stale columns of the block table point at."""


@dataclass
class Step:
    """Rows of (context before the step, tokens of the step), one-token rows first."""

    rows: list[tuple[int, int]]
    padding: int = 0
    seed: int = 0
    blocks_seed: int = 0

    def batch(self) -> AttentionBatch:
        rng = np.random.default_rng(self.blocks_seed)
        contexts, counts = np.array(self.rows).T
        seq_lens = contexts + counts
        needed = -(-seq_lens // BLOCK_SIZE)
        table = np.full((len(seq_lens), needed.max() + 2), STALE, np.int32)
        free = rng.permutation(np.arange(1, STALE))
        for row, count in enumerate(needed):
            table[row, :count], free = free[:count], free[count:]
        mapping = [
            table[row, p // BLOCK_SIZE] * BLOCK_SIZE + p % BLOCK_SIZE
            for row, (context, count) in enumerate(self.rows)
            for p in range(context, context + count)
        ]
        return AttentionBatch(
            query_start_N1=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            seq_lens_N=seq_lens.astype(np.int32),
            block_table_NB=table,
            slot_mapping_T=np.array(mapping + list(range(self.padding)), np.int64),
            num_decode_rows=int((counts == 1).sum()),
            block_size=BLOCK_SIZE,
        )


def run(
    backend: AttentionBackend[Any], step: Step, spec: AttentionSpec, dtype: torch.dtype
) -> tuple[torch.Tensor, ...]:
    """(output of the real tokens, k_cache, v_cache) from caches full of seeded values."""
    batch = step.batch()
    generator = torch.Generator().manual_seed(step.seed)
    shapes = backend.kv_cache_shapes(STALE + 1, BLOCK_SIZE, spec.num_kv_heads, spec.head_size)
    caches = tuple(torch.randn(shape, generator=generator).to(dtype) for shape in shapes)
    tokens = len(batch.slot_mapping_T)
    heads = spec.num_heads, spec.num_kv_heads, spec.num_kv_heads
    q, k, v = (torch.randn(tokens, h, spec.head_size, generator=generator).to(dtype) for h in heads)
    out = backend.forward(q, k, v, caches, backend.build_metadata(batch), spec)
    assert out.isfinite().all()
    return out[: tokens - step.padding], *caches


def assert_equals_oracle(
    step: Step, spec: AttentionSpec, dtype: torch.dtype = torch.float32, atol: float = 2e-6
) -> None:
    actual, expected = (
        run(backend, step, spec, dtype) for backend in (PagedTorchAttention(HOST), DenseAttention(HOST))
    )
    torch.testing.assert_close(actual[0], expected[0].to(dtype), atol=atol, rtol=0)
    for mine, theirs in zip(actual[1:], expected[1:], strict=True):
        assert torch.equal(mine, theirs), "the cache holds the step's keys and values, and nothing else changed"


DECODES = Step([(0, 1), (15, 1), (16, 1), (17, 1), (100, 1), (31, 1)])
PREFILLS = Step([(0, 5), (0, 16), (0, 17), (3, 40), (64, 2)])
MIXED = Step([(200, 1), (7, 1), (0, 33), (30, 20)], seed=4, blocks_seed=4)
STEPS = {
    "decodes": DECODES,
    "prefills": PREFILLS,
    "mixed": MIXED,
    "one": Step([(0, 1)]),
    "padded": replace(MIXED, padding=7),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS.keys())
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_equals_the_oracle(step: Step, kv_heads: int) -> None:
    assert_equals_oracle(step, replace(SPEC, num_kv_heads=kv_heads))


@pytest.mark.parametrize("window", [1, 15, 16, 50])
def test_sliding_window(window: int) -> None:
    for step in (DECODES, PREFILLS, MIXED):
        assert_equals_oracle(step, replace(SPEC, sliding_window=window))


def test_soft_cap() -> None:
    assert_equals_oracle(MIXED, replace(SPEC, logits_soft_cap=0.5, sliding_window=20))


def test_which_blocks_hold_the_context_changes_nothing() -> None:
    first, second = (
        run(PagedTorchAttention(HOST), Step([(0, 40), (0, 9)], blocks_seed=s), SPEC, torch.float32)[0] for s in (0, 1)
    )
    assert torch.equal(first, second)


def test_long_prefills_are_cut_into_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MAX_QUERIES_PER_GROUP", 16)
    assert_equals_oracle(Step([(5, 1), (9, 40), (0, 16)]), replace(SPEC, sliding_window=30))


def test_many_decodes_are_cut_into_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "MAX_ROWS_PER_GROUP", 2)
    step = Step([(3, 1), (40, 1), (5, 1), (12, 1), (2, 1), (0, 9)])
    groups = PagedTorchAttention(HOST).build_metadata(step.batch()).groups
    assert [group.token_NQ[:, 0].tolist() for group in groups] == [[0, 2], [3, 4], [1], [5]]
    assert_equals_oracle(step, replace(SPEC, sliding_window=30))


def test_decodes_of_like_length_share_a_group() -> None:
    metadata = PagedTorchAttention(HOST).build_metadata(Step([(3, 1), (100, 1), (12, 1), (97, 1), (120, 1)]).batch())
    assert [group.token_NQ[:, 0].tolist() for group in metadata.groups] == [[0, 2], [1, 3, 4]]


@pytest.mark.parametrize(("dtype", "atol"), [(torch.bfloat16, 2e-2), (torch.float16, 2e-3)])
def test_sixteen_bits_stay_within_their_own_rounding(dtype: torch.dtype, atol: float) -> None:
    """The tolerance is about two units in the last place of values near 1, as fp32 accumulation leaves it."""
    for step in (DECODES, MIXED):
        assert_equals_oracle(step, SPEC, dtype, atol)
        assert_equals_oracle(step, replace(SPEC, logits_soft_cap=1.0), dtype, atol)


def test_strided_views_are_taken_as_they_are() -> None:
    batch = MIXED.batch()
    qkv = torch.randn(len(batch.slot_mapping_T), 8, 32, generator=torch.Generator().manual_seed(0))
    q, k, v = qkv.split([4, 2, 2], dim=1)
    outs = []
    for parts in ((q, k, v), tuple(part.contiguous() for part in (q, k, v))):
        backend = PagedTorchAttention(HOST)
        caches = tuple(torch.zeros(shape) for shape in backend.kv_cache_shapes(STALE + 1, BLOCK_SIZE, 2, 32))
        outs.append(backend.forward(*parts, caches, backend.build_metadata(batch), SPEC))
    assert torch.equal(*outs)
    assert outs[0].is_contiguous()


def test_forward_traces_whole() -> None:
    backend = PagedTorchAttention(HOST)
    compiled = torch.compile(backend.forward, fullgraph=True, backend="eager")
    for spec in (SPEC, replace(SPEC, sliding_window=9, logits_soft_cap=3.0)):
        shapes = backend.kv_cache_shapes(STALE + 1, BLOCK_SIZE, 2, 32)
        batch = MIXED.batch()
        tokens = len(batch.slot_mapping_T)
        q, k, v = torch.randn(tokens, 4, 32), torch.randn(tokens, 2, 32), torch.randn(tokens, 2, 32)
        metadata = backend.build_metadata(batch)
        results = [
            forward(q, k, v, tuple(torch.zeros(shape) for shape in shapes), metadata, spec)
            for forward in (compiled, backend.forward)
        ]
        torch.testing.assert_close(*results)
