"""The native ops against Transformers' own modules and against numbers computed by hand."""

from __future__ import annotations

import pytest
import torch
from transformers.activations import ACT2FN
from transformers.models.glm import modeling_glm
from transformers.models.llama import modeling_llama

from vllm.model_executor.custom_op import OpSet

CPU = torch.device("cpu")
OPS = OpSet()


def _norm(size: int, dtype: torch.dtype) -> torch.nn.Module:
    norm = OPS.create("rms_norm", size, 1e-5, dtype=dtype, device=CPU)
    norm.weight.uniform_(0.5, 1.5)
    return norm


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_rms_norm_equals_transformers_bit_by_bit(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    norm, theirs = _norm(64, dtype), modeling_llama.LlamaRMSNorm(64, 1e-5).to(dtype)
    theirs.weight.data.copy_(norm.weight)
    x_TH = (torch.randn(7, 64) * 3).to(dtype)
    assert torch.equal(norm(x_TH), theirs(x_TH))


def test_rms_norm_by_hand() -> None:
    norm = OPS.create("rms_norm", 2, 0.0, dtype=torch.float32, device=CPU)
    norm.weight.copy_(torch.tensor([1.0, 10.0]))
    found = norm(torch.tensor([[1.0, 7.0]]))  # mean square 25
    assert torch.allclose(found, torch.tensor([[0.2, 14.0]]))


def test_rms_norm_with_residual_norms_the_sum_and_gives_it_back() -> None:
    torch.manual_seed(0)
    norm = _norm(16, torch.float32)
    x_TH, residual_TH = torch.randn(2, 3, 16)
    before = x_TH.clone(), residual_TH.clone()
    normed_TH, sum_TH = norm(x_TH, residual_TH)
    assert torch.equal(sum_TH, before[0] + before[1])
    assert torch.equal(normed_TH, norm(sum_TH))
    assert torch.equal(x_TH, before[0])
    assert torch.equal(residual_TH, before[1])


def test_gated_activation_leaves_its_argument() -> None:
    gate_up_T2I = torch.ones(2, 4)
    OPS.create("silu_and_mul")(gate_up_T2I)
    assert torch.equal(gate_up_T2I, torch.ones(2, 4))


@pytest.mark.parametrize(
    "op, activation", [("silu_and_mul", "silu"), ("gelu_and_mul", "gelu"), ("gelu_tanh_and_mul", "gelu_pytorch_tanh")]
)
def test_gated_activations_equal_transformers(op: str, activation: str) -> None:
    torch.manual_seed(0)
    gate_TI, up_TI = torch.randn(2, 5, 8)
    found = OPS.create(op)(torch.cat((gate_TI, up_TI), dim=-1))
    torch.testing.assert_close(found, ACT2FN[activation](gate_TI) * up_TI)


def _angles(frequencies: int, tokens: int) -> tuple[torch.Tensor, torch.Tensor]:
    angles_TF = torch.rand(tokens, frequencies) * 6
    return angles_TF.cos(), angles_TF.sin()


def _turn(
    x_THD: torch.Tensor, cos_TF: torch.Tensor, sin_TF: torch.Tensor, *, interleaved: bool = False
) -> torch.Tensor:
    op = OPS.create("rotary_embedding", interleaved=interleaved)
    return op(x_THD, *op.lay_out(cos_TF, sin_TF))


def test_rotation_equals_llama() -> None:
    torch.manual_seed(0)
    cos_TF, sin_TF = _angles(8, 5)
    x_THD = torch.randn(5, 3, 16)
    wanted, _ = modeling_llama.apply_rotary_pos_emb(x_THD, x_THD, cos_TF.repeat(1, 2), sin_TF.repeat(1, 2))
    torch.testing.assert_close(_turn(x_THD, cos_TF, sin_TF), wanted)


def test_interleaved_rotation_of_a_part_equals_glm() -> None:
    torch.manual_seed(0)
    cos_TF, sin_TF = _angles(4, 5)
    x_1HTD = torch.randn(1, 3, 5, 16)
    wanted_1HTD, _ = modeling_glm.apply_rotary_pos_emb(
        x_1HTD, x_1HTD, cos_TF.repeat(1, 2).unsqueeze(0), sin_TF.repeat(1, 2).unsqueeze(0)
    )
    found_THD = _turn(x_1HTD[0].transpose(0, 1), cos_TF, sin_TF, interleaved=True)
    torch.testing.assert_close(found_THD, wanted_1HTD[0].transpose(0, 1))


def test_rotation_of_a_part_by_hand() -> None:
    """A quarter turn takes the pair (1, 2) to (-2, 1); the rest of the head stays."""
    x_THD = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]])
    found = _turn(x_THD, torch.tensor([[0.0]]), torch.tensor([[1.0]]))
    assert found.tolist() == [[[-2.0, 1.0, 3.0, 4.0]]]


def test_rotation_reads_a_view_and_changes_nothing() -> None:
    torch.manual_seed(0)
    cos_TF, sin_TF = _angles(2, 2)
    whole_TGD = torch.randn(2, 5, 4)
    before = whole_TGD.clone()
    found = _turn(whole_TGD[:, 1:3], cos_TF, sin_TF)
    wanted = _turn(before[:, 1:3].contiguous(), cos_TF, sin_TF)
    assert torch.equal(found, wanted)
    assert torch.equal(whole_TGD, before)


def test_embedding_of_a_shard_gives_zeros_elsewhere() -> None:
    op = OPS.create("vocab_embedding", 10, 2, is_whole=False)
    weight_VH = torch.tensor([[1.0], [2.0], [9.0]])  # the last row is padding
    assert op(torch.tensor([9, 10, 11, 12]), weight_VH).flatten().tolist() == [0.0, 1.0, 2.0, 0.0]


def test_embedding_of_the_whole_table() -> None:
    op = OPS.create("vocab_embedding", 0, 3, is_whole=True)
    assert op(torch.tensor([2, 0]), torch.tensor([[1.0], [2.0], [3.0]])).flatten().tolist() == [3.0, 1.0]
