"""Fused operators of language models agree with the same computation in plain torch on the CPU."""

from __future__ import annotations

import pytest
from on_npu import NPU, counted, torch, torch_npu

FLOATS = (torch.float32, torch.bfloat16, torch.float16)


def close(found: torch.Tensor, wanted: torch.Tensor, tolerance: float = 2e-2) -> None:
    torch.testing.assert_close(found.cpu().float(), wanted.float(), atol=tolerance, rtol=tolerance)


def rms_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return x.float() * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + 1e-6) * weight.float()


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("shape", [(5, 64), (2, 3, 64), (0, 64)], ids=str)
def test_rms_norm_and_its_sum(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x, y, weight = torch.randn(shape).to(dtype), torch.randn(shape).to(dtype), torch.rand(64).to(dtype)
    close(torch_npu.npu_rms_norm(x.to(NPU), weight.to(NPU), 1e-6)[0], rms_norm(x, weight))
    normed, _, total = torch_npu.npu_add_rms_norm(x.to(NPU), y.to(NPU), weight.to(NPU), 1e-6)
    close(normed, rms_norm(x + y, weight))
    assert torch.equal(total.cpu(), x + y)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_swiglu(dtype: torch.dtype) -> None:
    x = torch.randn(3, 32).to(dtype)
    gate, up = x.float().chunk(2, -1)
    close(torch_npu.npu_swiglu(x.to(NPU)), torch.nn.functional.silu(gate) * up)


@pytest.mark.parametrize("form", ["none", "tanh"])
def test_gelu_by_name(form: str) -> None:
    x = torch.randn(3, 32)
    close(torch_npu.npu_gelu(x.to(NPU), approximate=form), torch.nn.functional.gelu(x, approximate=form), 1e-6)


@pytest.mark.parametrize("mode", ["half", "interleave"])
def test_rotary_mul(mode: str) -> None:
    x, cos, sin = torch.randn(1, 6, 3, 64), torch.randn(1, 6, 1, 64), torch.randn(1, 6, 1, 64)
    by_halves = torch.cat([-x[..., 32:], x[..., :32]], -1)
    turned = by_halves if mode == "half" else torch.stack([-x[..., 1::2], x[..., ::2]], -1).flatten(-2)
    found = torch_npu.npu_rotary_mul(x.to(NPU), cos.to(NPU), sin.to(NPU), rotary_mode=mode)
    close(found, x * cos + turned * sin, 1e-5)


def test_apply_rotary_pos_emb_turns_queries_and_keys() -> None:
    q, k = torch.randn(5, 4, 64).half(), torch.randn(5, 2, 64).half()
    cos, sin = torch.randn(5, 1, 64).half(), torch.randn(5, 1, 64).half()
    found = torch_npu.npu_apply_rotary_pos_emb(*(x.to(NPU) for x in (q, k, cos, sin)), layout="TND")
    for x, turned in zip((q, k), found, strict=True):
        close(turned, x * cos + torch.cat([-x[..., 32:], x[..., :32]], -1) * sin)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_linear_with_a_weight_in_nz(dtype: torch.dtype) -> None:
    x, weight = torch.randn(5, 48).to(dtype), torch.randn(40, 48).to(dtype)
    cast = torch_npu.npu_format_cast(weight.to(NPU), 29)
    assert torch_npu.get_npu_format(cast) == 29
    close(torch.nn.functional.linear(x.to(NPU), cast), torch.nn.functional.linear(x, weight))
    assert torch.equal(torch_npu.npu_format_cast(cast, 2).cpu(), weight)


def test_top_k_top_p_keeps_the_most_likely() -> None:
    torch.manual_seed(3)
    logits = torch.randn(4, 50)
    p, k = torch.tensor([0.5, 0.9, 0.01, 1.0]), torch.tensor([50, 5, 3, 1], dtype=torch.int32)
    found = torch_npu.npu_top_k_top_p(logits.to(NPU), p.to(NPU), k.to(NPU)).cpu()
    for row in range(4):
        order = logits[row].argsort(descending=True)
        best = order[: int(k[row])]
        before = logits[row][best].softmax(0).cumsum(0) - logits[row][best].softmax(0)
        kept = set(best[before < p[row]].tolist())
        assert set(found[row].isfinite().nonzero().flatten().tolist()) == kept


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_dynamic_quant_and_quantised_product(dtype: torch.dtype) -> None:
    torch.manual_seed(4)
    x, weight = torch.randn(6, 32).to(dtype), torch.randint(-127, 127, (32, 16), dtype=torch.int8)
    scale = torch.rand(16)
    y, token_scale = torch_npu.npu_dynamic_quant(x.to(NPU))
    wanted_scale = x.float().abs().amax(-1) / 127
    close(token_scale, wanted_scale, 1e-6)
    assert torch.equal(y.cpu().float(), (x.float() / wanted_scale[:, None]).round())
    arguments = {"pertoken_scale": token_scale, "output_dtype": dtype}
    out = torch_npu.npu_quant_matmul(y, weight.to(NPU), scale.to(NPU), **arguments)
    close(out, (y.cpu().double() @ weight.double()).float() * scale * wanted_scale[:, None])
    in_nz = torch_npu.npu_format_cast(weight.to(NPU), 29)
    assert torch.equal(torch_npu.npu_quant_matmul(y, in_nz, scale.to(NPU), **arguments).cpu(), out.cpu())


def test_a_row_of_zeros_is_quantised_to_zeros() -> None:
    y, scale = torch_npu.npu_dynamic_quant(torch.zeros(2, 16, dtype=torch.float16, device=NPU))
    assert y.cpu().eq(0).all()
    assert scale.cpu().eq(0).all()


def test_static_quantised_product_to_float16_and_int8() -> None:
    x1, x2 = torch.randint(-5, 5, (3, 32), dtype=torch.int8), torch.randint(-5, 5, (32, 16), dtype=torch.int8)
    scale, bias = torch.full((16,), 0.5), torch.arange(16, dtype=torch.int32)
    total = x1.int() @ x2.int() + bias
    half = torch_npu.npu_quant_matmul(
        *(x.to(NPU) for x in (x1, x2, scale)), bias=bias.to(NPU), output_dtype=torch.float16
    )
    close(half, total * 0.5)
    whole = torch_npu.npu_quant_matmul(*(x.to(NPU) for x in (x1, x2, scale)), bias=bias.to(NPU))
    assert torch.equal(whole.cpu().int(), (total * 0.5).round().clamp(-128, 127).int())


def test_quantize_by_multiplication() -> None:
    x, scale = torch.randn(4, 16), torch.rand(16)
    found = torch_npu.npu_quantize(x.to(NPU), scale.to(NPU), None, torch.qint8, -1, False)
    assert torch.equal(found.cpu().int(), (x * scale).round().clamp(-128, 127).int())


@pytest.mark.parametrize("list_type", [0, 1], ids=["ends", "sizes"])
def test_grouped_matmul(list_type: int) -> None:
    x, weight = torch.randn(9, 16).half(), torch.randn(3, 16, 8).half()
    groups = torch.tensor([2, 2, 9] if list_type == 0 else [2, 0, 7])
    out = torch_npu.npu_grouped_matmul(
        [x.to(NPU)], [weight.to(NPU)], group_list=groups.to(NPU), split_item=2, group_type=0, group_list_type=list_type
    )[0]
    close(out, torch.cat([x[:2] @ weight[0], x[2:] @ weight[2]]))


def test_grouped_matmul_of_quantised_tokens() -> None:
    x, weight = torch.randint(-9, 9, (5, 32), dtype=torch.int8), torch.randint(-9, 9, (2, 32, 16), dtype=torch.int8)
    scale, token_scale = torch.rand(2, 16).bfloat16(), torch.rand(5)
    out = torch_npu.npu_grouped_matmul(
        [x.to(NPU)],
        [weight.to(NPU)],
        scale=[scale.to(NPU)],
        per_token_scale=[token_scale.to(NPU)],
        group_list=torch.tensor([2, 3], device=NPU),
        split_item=2,
        group_type=0,
        group_list_type=1,
        output_dtype=torch.bfloat16,
    )[0]
    expert = torch.tensor([0, 0, 1, 1, 1])
    wanted = (
        torch.einsum("tk,tkn->tn", x.float(), weight[expert].float()) * scale[expert].float() * token_scale[:, None]
    )
    close(out, wanted)


def test_experts_chosen_sorted_and_brought_back() -> None:
    torch.manual_seed(6)
    tokens, logits = torch.randn(5, 16).half(), torch.randn(5, 4).half()
    weights, experts, _ = torch_npu.npu_moe_gating_top_k_softmax(logits.to(NPU), None, k=2)
    best = logits.float().softmax(-1).topk(2, -1)
    close(weights, best.values)
    assert torch.equal(experts.cpu().long(), best.indices)
    rows, where, counts, _ = torch_npu.npu_moe_init_routing_v2(
        tokens.to(NPU),
        experts,
        active_num=10,
        expert_num=4,
        expert_tokens_num_type=1,
        expert_tokens_num_flag=True,
        active_expert_range=[0, 4],
    )
    assert counts.cpu().tolist() == best.indices.flatten().bincount(minlength=4).tolist()
    assert torch.equal(rows.cpu()[where.cpu().long().view(5, 2)], tokens[:, None].expand(5, 2, 16))
    back = torch_npu.npu_moe_token_unpermute(rows, where, probs=weights)
    close(back, tokens.float() * best.values.sum(-1, keepdim=True))


def test_gating_within_the_best_groups_of_experts() -> None:
    torch.manual_seed(7)
    x, bias = torch.randn(6, 8), torch.randn(8) / 9
    found, experts, _ = torch_npu.npu_moe_gating_top_k(
        x.to(NPU),
        3,
        bias=bias.to(NPU),
        k_group=2,
        group_count=4,
        group_select_mode=1,
        norm_type=1,
        routed_scaling_factor=2.0,
    )
    scores = x.sigmoid()
    for row in range(6):
        groups = (scores[row] + bias).view(4, 2).sum(-1).topk(2).indices.tolist()
        allowed = [expert for expert in range(8) if expert // 2 in groups]
        best = sorted(allowed, key=lambda expert: float(scores[row, expert] + bias[expert]), reverse=True)[:3]
        assert experts[row].cpu().tolist() == best
        close(found[row], scores[row, best] / scores[row, best].sum() * 2, 1e-5)


def test_tokens_permuted_and_brought_back() -> None:
    torch.manual_seed(8)
    tokens, experts, weights = torch.randn(5, 16).bfloat16(), torch.randint(4, (5, 2)), torch.rand(5, 2).bfloat16()
    permuted, where = torch_npu.npu_moe_token_permute(tokens.to(NPU), experts.to(NPU))
    order = experts.flatten().argsort(stable=True)
    assert torch.equal(permuted.cpu(), tokens[order // 2])
    back = torch_npu.npu_moe_token_unpermute(permuted, where, probs=weights.to(NPU))
    close(back, tokens.float() * weights.float().sum(-1, keepdim=True))


def test_finalize_routing_adds_weighted_rows() -> None:
    rows, index = torch.randn(6, 8), torch.tensor([2, 0, 5, 1, 4, 3], dtype=torch.int32)
    scales = torch.rand(3, 2)
    found = torch_npu.npu_moe_finalize_routing(
        rows.to(NPU), None, None, None, scales.to(NPU), index.to(NPU), None, drop_pad_mode=0
    )
    wanted = torch.stack([scales[n, 0] * rows[index[n]] + scales[n, 1] * rows[index[n + 3]] for n in range(3)])
    close(found, wanted, 1e-5)


def test_add_rms_norm_that_ends_in_int8() -> None:
    x1, x2, weight = torch.randn(3, 32).half(), torch.randn(3, 32).half(), torch.rand(32).half()
    y, _, total, scale, _ = torch_npu.npu_add_rms_norm_dynamic_quant(x1.to(NPU), x2.to(NPU), weight.to(NPU))
    assert torch.equal(total.cpu(), x1 + x2)
    close(y.cpu().float() * scale.cpu()[:, None], rms_norm(x1 + x2, weight))


def test_gemma_rms_norm_fast_gelu_and_scatter_nd() -> None:
    x, weight = torch.randn(3, 32), torch.rand(32)
    close(torch_npu.npu_gemma_rms_norm(x.to(NPU), weight.to(NPU))[0], rms_norm(x, 1 + weight), 1e-5)
    close(torch_npu.npu_fast_gelu(x.to(NPU)), x * torch.sigmoid(1.702 * x), 1e-5)
    found = torch_npu.npu_scatter_nd_update_(x.to(NPU), torch.tensor([[2], [0]], device=NPU), -x[:2].to(NPU))
    assert torch.equal(found.cpu(), torch.stack([-x[1], x[1], -x[0]]))


def test_quantize_by_division() -> None:
    x, scale, zero = torch.randn(4, 16), torch.rand(16) + 0.1, torch.arange(16, dtype=torch.int32)
    found = torch_npu.npu_quantize(x.to(NPU), scale.to(NPU), zero.to(NPU), torch.qint8, 1)
    assert torch.equal(found.cpu().int(), ((x / scale).round() + zero).clamp(-128, 127).int())


def test_launches_are_counted_by_operator() -> None:
    x, weight = torch.ones(2, 8, device=NPU), torch.ones(8, device=NPU)
    launches = counted(lambda: torch_npu.npu_rms_norm(x + x, weight))
    assert launches["aclnnAdd"] == 1
    assert launches["aclnnRmsNorm"] == 1
