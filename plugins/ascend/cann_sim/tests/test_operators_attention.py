"""The fused attention and the cache write agree with a dense float32 computation that is written out here, request by request."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
from on_npu import NPU, torch, torch_npu

BLOCK = 128
HEADS, KV_HEADS, SIZE = 4, 2, 64
MASK = torch.triu(torch.ones(2048, 2048), diagonal=1).to(torch.int8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Request:
    """`queries` new tokens at the end of `keys` tokens."""

    queries: int
    keys: int


STORIES = {
    "prefill": [Request(queries=5, keys=5), Request(queries=130, keys=130)],
    "decode": [Request(queries=1, keys=1), Request(queries=1, keys=128), Request(queries=1, keys=129)],
    "chunks and hits": [Request(queries=3, keys=140), Request(queries=1, keys=7), Request(queries=20, keys=20)],
}


def dense(q_QHD: torch.Tensor, k_SKD: torch.Tensor, v_SKD: torch.Tensor, window: int | None) -> torch.Tensor:
    """One request, one query and head at a time."""
    out = torch.zeros_like(q_QHD, dtype=torch.float32)
    for i in range(q_QHD.shape[0]):
        last = k_SKD.shape[0] - q_QHD.shape[0] + i
        first = 0 if window is None else max(0, last - window + 1)
        for head in range(HEADS):
            kv = head // (HEADS // KV_HEADS)
            keys, values = k_SKD[first : last + 1, kv].float(), v_SKD[first : last + 1, kv].float()
            weights = (keys @ q_QHD[i, head].float() / math.sqrt(SIZE)).softmax(0)
            out[i, head] = weights @ values
    return out


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@pytest.mark.parametrize("window", [None, 16], ids=["full", "window"])
@pytest.mark.parametrize("story", STORIES)
def test_paged_attention_agrees_with_dense(story: str, window: int | None, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    requests = STORIES[story]
    keys = [torch.randn(r.keys, KV_HEADS, SIZE).to(dtype) for r in requests]
    values = [torch.randn(r.keys, KV_HEADS, SIZE).to(dtype) for r in requests]
    queries = [torch.randn(r.queries, HEADS, SIZE).to(dtype) for r in requests]
    table, caches = _written(keys, values, dtype)
    ends = torch.tensor([r.queries for r in requests]).cumsum(0).tolist()
    band = {"sparse_mode": 3} if window is None else {"sparse_mode": 4, "pre_tokens": window - 1, "next_tokens": 0}
    out, _ = torch_npu.npu_fused_infer_attention_score(
        torch.cat(queries).to(NPU),
        *caches,
        atten_mask=MASK.to(NPU),
        block_table=table,
        input_layout="TND",
        block_size=BLOCK,
        actual_seq_lengths=ends,
        actual_seq_lengths_kv=[r.keys for r in requests],
        num_key_value_heads=KV_HEADS,
        num_heads=HEADS,
        scale=1 / math.sqrt(SIZE),
        **band,
    )
    wanted = torch.cat([dense(q, k, v, window) for q, k, v in zip(queries, keys, values, strict=True)])
    torch.testing.assert_close(out.cpu().float(), wanted, atol=2e-2, rtol=2e-2)


def _written(
    keys: list[torch.Tensor], values: list[torch.Tensor], dtype: torch.dtype
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor]]:
    """Each request's tokens in blocks of its own, in no order, through the operator that writes them; and the block table."""
    caches = [torch.full((12, BLOCK, KV_HEADS, SIZE), float("nan"), dtype=dtype, device=NPU) for _ in range(2)]
    free = torch.randperm(12).tolist()
    table = torch.zeros(len(keys), 2, dtype=torch.int32)
    for row, (k, v) in enumerate(zip(keys, values, strict=True)):
        table[row] = torch.tensor([free.pop(), free.pop()])
        slots = [int(table[row, i // BLOCK]) * BLOCK + i % BLOCK for i in range(len(k))]
        slot_mapping = torch.tensor(slots, dtype=torch.int32, device=NPU)
        torch_npu.npu_scatter_pa_kv_cache(k.to(NPU), v.to(NPU), *caches, slot_mapping, cache_mode="Norm")
    flat = [cache.view(12, BLOCK, KV_HEADS * SIZE) for cache in caches]
    return table.to(NPU), (flat[0], flat[1])


@pytest.mark.parametrize("layout", ["BSH", "BSND", "BNSD"])
def test_attention_over_contiguous_keys_agrees_with_dense(layout: str) -> None:
    torch.manual_seed(1)
    q = torch.randn(2, 6, HEADS, SIZE, dtype=torch.float16)
    k, v = (torch.randn(2, 9, KV_HEADS, SIZE, dtype=torch.float16) for _ in range(2))
    shaped = {"BSH": lambda x: x.flatten(2), "BSND": lambda x: x, "BNSD": lambda x: x.transpose(1, 2).contiguous()}[
        layout
    ]
    out, lse = torch_npu.npu_fused_infer_attention_score(
        *(shaped(x).to(NPU) for x in (q, k, v)),
        atten_mask=MASK.to(NPU),
        input_layout=layout,
        num_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        scale=1 / math.sqrt(SIZE),
        sparse_mode=3,
        softmax_lse_flag=True,
    )
    wanted = torch.stack([dense(q[b], k[b], v[b], None) for b in range(2)])
    torch.testing.assert_close(out.cpu().float(), shaped(wanted), atol=2e-2, rtol=2e-2)
    last = torch.logsumexp(k[1, :, 0].float() @ q[1, 5, 0].float() / math.sqrt(SIZE), 0)
    assert abs(float(lse[1, 0, 5, 0]) - float(last)) < 1e-2


def test_the_second_version_of_the_operator_agrees_with_the_first() -> None:
    torch.manual_seed(3)
    q, cache = torch.randn(2, HEADS, SIZE).half().to(NPU), torch.randn(4, BLOCK, KV_HEADS * SIZE).half().to(NPU)
    table = torch.tensor([[3, 1], [0, 2]], dtype=torch.int32, device=NPU)
    same = {
        "atten_mask": MASK.to(NPU),
        "block_table": table,
        "input_layout": "TND",
        "block_size": BLOCK,
        "sparse_mode": 3,
    }
    first, _ = torch_npu.npu_fused_infer_attention_score(
        q, cache, cache, actual_seq_lengths=[1, 2], actual_seq_lengths_kv=[9, 200], num_heads=HEADS,
        num_key_value_heads=KV_HEADS, scale=0.125, **same,
    )  # fmt: skip
    second, _ = torch_npu.npu_fused_infer_attention_score_v2(
        q, cache, cache, actual_seq_qlen=[1, 2], actual_seq_kvlen=[9, 200], num_query_heads=HEADS,
        num_key_value_heads=KV_HEADS, softmax_scale=0.125, **same,
    )  # fmt: skip
    assert torch.equal(first.cpu(), second.cpu())


def test_a_slot_that_two_tokens_write_holds_nan() -> None:
    cache = torch.zeros(2, BLOCK, KV_HEADS, SIZE, dtype=torch.float16, device=NPU)
    rows = torch.ones(3, KV_HEADS, SIZE, dtype=torch.float16, device=NPU)
    slots = torch.tensor([4, 9, 4], dtype=torch.int32, device=NPU)
    torch_npu.npu_scatter_pa_kv_cache(rows, rows, cache, torch.zeros_like(cache), slots, cache_mode="Norm")
    written = cache.cpu().view(2 * BLOCK, KV_HEADS, SIZE)
    assert written[9].eq(1).all()
    assert written[4].isnan().all()
    assert written[5].eq(0).all()


def test_scaled_dot_product_attention_agrees_with_cpu() -> None:
    torch.manual_seed(2)
    q, k, v = (torch.randn(2, HEADS, 7, SIZE, dtype=torch.float16) for _ in range(3))
    wanted = torch.nn.functional.scaled_dot_product_attention(q.float(), k.float(), v.float(), is_causal=True)
    out = torch.nn.functional.scaled_dot_product_attention(q.to(NPU), k.to(NPU), v.to(NPU), is_causal=True)
    torch.testing.assert_close(out.cpu().float(), wanted, atol=2e-2, rtol=2e-2)
