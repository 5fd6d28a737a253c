"""What the documentation of the real operators forbids raises on the simulator, with the source named; each test plants one violation."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from on_npu import NPU, torch, torch_npu

HALF, BF16, INT8 = torch.float16, torch.bfloat16, torch.int8
MASK = torch.triu(torch.ones(2048, 2048), diagonal=1).to(INT8)


def zeros(*shape: int, dtype: torch.dtype = HALF) -> torch.Tensor:
    return torch.zeros(shape, dtype=dtype, device=NPU)


def attention(**changes: Any) -> Any:
    """A decode of two requests that is allowed, but for what `changes` makes of it."""
    cache = changes.pop("cache", zeros(4, 128, 128))
    call = {
        "query": zeros(2, 4, 64),
        "key": cache,
        "value": cache,
        "atten_mask": MASK.to(NPU),
        "block_table": torch.zeros(2, 2, dtype=torch.int32, device=NPU),
        "input_layout": "TND",
        "block_size": 128,
        "actual_seq_lengths": [1, 2],
        "actual_seq_lengths_kv": [5, 200],
        "num_key_value_heads": 2,
        "num_heads": 4,
        "scale": 0.125,
        "sparse_mode": 3,
    }
    return torch_npu.npu_fused_infer_attention_score(**(call | changes))


def scatter(**changes: Any) -> Any:
    cache = zeros(4, 128, 2, 64)
    call = {
        "key": zeros(3, 2, 64),
        "value": zeros(3, 2, 64),
        "key_cache": cache,
        "value_cache": zeros(4, 128, 2, 64),
        "slot_mapping": torch.tensor([0, 5, 511], dtype=torch.int32, device=NPU),
        "cache_mode": "Norm",
    }
    return torch_npu.npu_scatter_pa_kv_cache(**(call | changes))


def quant_matmul(**changes: Any) -> Any:
    call = {
        "x1": zeros(3, 32, dtype=INT8),
        "x2": zeros(32, 16, dtype=INT8),
        "scale": torch.ones(16, device=NPU),
        "pertoken_scale": torch.ones(3, device=NPU),
        "output_dtype": BF16,
    }
    return torch_npu.npu_quant_matmul(**(call | changes))


def wide(dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {"query": zeros(2, 4, 64, dtype=dtype), "cache": zeros(4, 128, 128, dtype=dtype)}


VIOLATIONS: dict[str, tuple[Callable[[], Any], str]] = {
    "attention in float32": (lambda: attention(**wide(torch.float32)), "query has the dtype Float"),
    "keys of another dtype": (lambda: attention(cache=zeros(4, 128, 128, dtype=BF16)), "key has the dtype BFloat16"),
    "head size": (lambda: attention(query=zeros(2, 4, 60), cache=zeros(4, 128, 120)), "head size 60"),
    "heads": (lambda: attention(num_key_value_heads=3), "num_heads 4 must be a multiple"),
    "a mask that is too small": (
        lambda: attention(atten_mask=MASK[:128, :128].contiguous().to(NPU)),
        "needs an atten_mask of .2048, 2048.",
    ),
    "no mask": (lambda: attention(atten_mask=None), "needs an atten_mask"),
    "a mask in float16": (lambda: attention(atten_mask=MASK.half().to(NPU)), "atten_mask has the dtype Half"),
    "mode 0 with a mask": (lambda: attention(sparse_mode=0), "sparse_mode 0 without atten_mask"),
    "an unknown mode": (lambda: attention(sparse_mode=5), "sparse_mode 5"),
    "an empty band": (lambda: attention(sparse_mode=4, pre_tokens=3, next_tokens=-4), "band of sparse_mode 4 is empty"),
    "block size": (lambda: attention(block_size=120, cache=zeros(4, 120, 128)), "block_size 120"),
    "a large block size": (lambda: attention(block_size=256, cache=zeros(4, 256, 128)), "block_size 256"),
    "a cache of four dimensions": (lambda: attention(cache=zeros(4, 128, 2, 64)), "is neither .blocks, block_size"),
    "lengths of queries per request": (lambda: attention(actual_seq_lengths=[1, 1]), "ends at 1, query has 2 tokens"),
    "lengths that fall": (lambda: attention(actual_seq_lengths=[3, 2]), "must be cumulative"),
    "lengths of another count": (lambda: attention(actual_seq_lengths_kv=[5]), "has 2 requests, actual_seq_lengths_kv"),
    "more queries than keys": (lambda: attention(actual_seq_lengths_kv=[5, 0]), "only 0 keys"),
    "a request longer than its table": (lambda: attention(actual_seq_lengths_kv=[5, 257]), "257 tokens does not fit"),
    "a table of another height": (
        lambda: attention(block_table=zeros(3, 2, dtype=torch.int32)),
        "one row for each of 2",
    ),
    "a table in int64": (
        lambda: attention(block_table=zeros(2, 2, dtype=torch.int64)),
        "block_table has the dtype Long",
    ),
    "precision mode": (lambda: attention(inner_precise=1), "inner_precise 1"),
    "cache write in float32": (
        lambda: scatter(**{name: zeros(3, 2, 64, dtype=torch.float32) for name in ("key", "value")}),
        "key has the dtype Float",
    ),
    "cache write of another shape": (lambda: scatter(key=zeros(3, 1, 64)), "is not .blocks, block_size, heads"),
    "too few slots": (
        lambda: scatter(slot_mapping=torch.tensor([0], dtype=torch.int32, device=NPU)),
        "must have as many tokens",
    ),
    "cache mode": (lambda: scatter(cache_mode="norm"), "cache_mode norm"),
    "rms norm in int32": (
        lambda: torch_npu.npu_rms_norm(zeros(2, 8, dtype=torch.int32), zeros(8, dtype=torch.int32)),
        "the input has the dtype Int",
    ),
    "rms norm weight": (
        lambda: torch_npu.npu_add_rms_norm(zeros(2, 8), zeros(2, 8), zeros(8, dtype=BF16)),
        "gamma has the dtype",
    ),
    "rotary of three dimensions": (
        lambda: torch_npu.npu_rotary_mul(zeros(2, 4, 64), zeros(2, 1, 64), zeros(2, 1, 64)),
        "the input has 3 dimensions",
    ),
    "rotary head size": (lambda: torch_npu.npu_rotary_mul(*(zeros(1, 2, n, 896) for n in (4, 1, 1))), "head size 896"),
    "fused rotary head size": (
        lambda: torch_npu.npu_apply_rotary_pos_emb(*(zeros(2, n, 32) for n in (4, 2, 1, 1)), layout="TND"),
        "head size 32 is neither 64 nor 128",
    ),
    "top-k in int64": (
        lambda: torch_npu.npu_top_k_top_p(zeros(2, 8), None, torch.ones(2, dtype=torch.int64, device=NPU)),
        "k has the dtype Long",
    ),
    "dynamic quant of float32": (
        lambda: torch_npu.npu_dynamic_quant(zeros(2, 8, dtype=torch.float32)),
        "the input has the dtype Float",
    ),
    "token scale in bfloat16": (
        lambda: quant_matmul(pertoken_scale=zeros(3, dtype=BF16)),
        "pertoken_scale has the dtype BFloat16",
    ),
    "token scale count": (
        lambda: quant_matmul(pertoken_scale=torch.ones(4, device=NPU)),
        "one value for each of 3 tokens",
    ),
    "weight scale count": (lambda: quant_matmul(scale=torch.ones(8, device=NPU)), "must have 1 or 16 values"),
    "float16 with scale in bfloat16": (
        lambda: quant_matmul(scale=zeros(16, dtype=BF16), output_dtype=HALF),
        "output float16 takes a scale",
    ),
    "grouped product by int32": (
        lambda: torch_npu.npu_grouped_matmul(
            [zeros(4, 8)], [zeros(2, 8, 3)], group_list=zeros(2, dtype=torch.int32), split_item=2, group_type=0
        ),
        "group_list has the dtype Int",
    ),
    "routing by expert ids in int64": (
        lambda: torch_npu.npu_moe_init_routing_v2(
            zeros(2, 8), zeros(2, 1, dtype=torch.int64), expert_num=2, active_expert_range=[0, 2]
        ),
        "expert_idx has the dtype Long",
    ),
    "nz into an operator that takes nd": (
        lambda: torch_npu.npu_swiglu(torch_npu.npu_format_cast(zeros(32, 32), 29)),
        "do not support internal format",
    ),
}


@pytest.mark.parametrize("name", VIOLATIONS)
def test_a_violation_raises(name: str) -> None:
    call, sentence = VIOLATIONS[name]
    with pytest.raises(RuntimeError, match=sentence) as raised:
        call()
    if not name.startswith("nz"):
        assert "[limit of the real operator; source: " in str(raised.value)


VALUES = {
    "a mask that is upside down": ("attention(atten_mask=(1 - MASK).to(NPU))", "must be 1 above the diagonal"),
    "a slot past the end": (
        "scatter(slot_mapping=torch.tensor([0, 5, 512], dtype=torch.int32, device=NPU))",
        "holds 512",
    ),
    "a negative slot": ("scatter(slot_mapping=torch.tensor([0, -1, 5], dtype=torch.int32, device=NPU))", "holds -1"),
}


@pytest.mark.parametrize("name", VALUES)
def test_a_violation_by_values_stops_the_stream(name: str) -> None:
    """In a process of its own: what runs on the device fails when it runs, and its stream is dead afterwards."""
    call, sentence = VALUES[name]
    code = f"from test_operators_limits import *; {call}; torch.npu.synchronize()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "[limit of the real operator; source: " in done.stderr


@pytest.mark.parametrize("call", ["attention()", "scatter()"])
def test_a_chip_without_the_operator_says_so(call: str) -> None:
    code = f"from test_operators_limits import *; {call}; torch.npu.synchronize()"
    environment = os.environ | {"CANN_SIM_SOC": "Ascend310P3"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "this chip (Ascend310P3) does not have the operator" in done.stderr


def test_what_the_violations_change_is_allowed_without_them() -> None:
    attention()
    scatter()
    quant_matmul()
    attention(sparse_mode=4, pre_tokens=15, next_tokens=0)
    torch.npu.synchronize()
