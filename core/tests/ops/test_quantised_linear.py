"""The 8-bit linear ops: numbers by hand, a naive twin in whole numbers, and what a compiler sees.

Legend: T tokens, I inputs, O outputs.
"""

from __future__ import annotations

import pytest
import torch

from vllm.model_executor.custom_op import OpSet
from vllm.testing.quantised_data import int8_weights, tokens_on_a_grid

OPS = OpSet()


def naive(
    x_TI: torch.Tensor, weight_OI: torch.Tensor, scale_O: torch.Tensor, bias_O: torch.Tensor | None
) -> torch.Tensor:
    """Token by token, output by output, sums in Python's whole numbers."""
    rows = []
    for x_I in x_TI.double():
        step = float(x_I.abs().max()) / 127
        q_I = [round(float(x) / step) if step else 0 for x in x_I]
        sums = [sum(q * w for q, w in zip(q_I, weight_I, strict=True)) for weight_I in weight_OI.tolist()]
        rows.append(torch.tensor(sums, dtype=torch.float64) * scale_O * step)
    out_TO = torch.stack(rows)
    return out_TO if bias_O is None else out_TO + bias_O


def test_by_hand() -> None:
    """The largest of 2, -4, 1 gives the step 4 / 127: 63.5 is rounded to the even 64, 31.75 to 32."""
    x_TI = torch.tensor([[2.0, -4.0, 1.0], [0.0, 0.0, 0.0]])
    weight_OI = torch.tensor([[1, 2, 3], [-127, 127, 0]], dtype=torch.int8)
    scale_O, bias_O = torch.tensor([1.0, 0.5]), torch.tensor([10.0, -1.0])
    found = OPS.create("w8a8_int8_linear")(x_TI, weight_OI, scale_O, bias_O)
    sums = [64 - 2 * 127 + 3 * 32, -127 * 64 - 127 * 127]
    wanted = torch.tensor([[sums[0] * 4 / 127 + 10, sums[1] * 0.5 * 4 / 127 - 1], [10.0, -1.0]])
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("inputs", [5, 64, 1100])
def test_equals_whole_numbers(dtype: torch.dtype, inputs: int) -> None:
    weight_OI, scale_O = int8_weights(6, inputs)
    x_TI = tokens_on_a_grid((5,), inputs).to(dtype)
    bias_O = torch.linspace(-1, 1, 6).to(dtype)
    found = OPS.create("w8a8_int8_linear")(x_TI, weight_OI, scale_O, bias_O)
    wanted = naive(x_TI, weight_OI, scale_O, bias_O).to(dtype)
    torch.testing.assert_close(found, wanted, atol=0, rtol=2 * torch.finfo(dtype).eps)


def test_random_tokens_differ_by_rounding_at_most() -> None:
    torch.manual_seed(0)
    weight_OI, scale_O = int8_weights(8, 32)
    x_TI = torch.randn(20, 32)
    found = OPS.create("w8a8_int8_linear")(x_TI, weight_OI, scale_O, None)
    exact = x_TI @ (weight_OI * scale_O[:, None]).T
    half_a_step_T1 = x_TI.abs().amax(-1, keepdim=True) / 254
    bound_TO = half_a_step_T1 * (weight_OI.abs().sum(-1) * scale_O)
    assert ((found - exact).abs() <= bound_TO * (1 + 1e-5)).all()
    torch.testing.assert_close(OPS.create("w8a16_int8_linear")(x_TI, weight_OI, scale_O, None), exact)


@pytest.mark.parametrize("name", ["w8a8_int8_linear", "w8a16_int8_linear"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_no_tokens_give_none_and_the_dtype_stays(name: str, dtype: torch.dtype) -> None:
    weight_OI, scale_O = int8_weights(6, 16)
    found = OPS.create(name)(torch.zeros(2, 0, 16, dtype=dtype), weight_OI, scale_O, None)
    assert (found.shape, found.dtype) == ((2, 0, 6), dtype)


@pytest.mark.parametrize("name", ["w8a8_int8_linear", "w8a16_int8_linear"])
def test_it_is_traced_whole(name: str) -> None:
    op = OPS.create(name)
    weight_OI, scale_O = int8_weights(6, 1100)
    traced = torch.compile(op, backend="eager", fullgraph=True)
    x_TI = tokens_on_a_grid((5,), 1100)
    assert torch.equal(traced(x_TI, weight_OI, scale_O, scale_O), op(x_TI, weight_OI, scale_O, scale_O))


def test_weights_alone_do_not_overflow_float16() -> None:
    weight_OI, scale_O = torch.full((1, 2048), 127, dtype=torch.int8), torch.tensor([1 / 127])
    x_TI = torch.full((1, 2048), 4.0, dtype=torch.float16)
    assert OPS.create("w8a16_int8_linear")(x_TI, weight_OI, scale_O, None).item() == pytest.approx(8192, rel=2e-3)
