"""The packed product against torch's in fp32, and that each row's bits are its own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional

from vllm_cpu_ref.native import library
from vllm_cpu_ref.native.linear import LARGEST_COPY_BYTES, NativeLinear, panels, weight_of

KERNELS: Any = library.kernels()
needs_kernel = pytest.mark.skipif(
    KERNELS is None or not KERNELS.has_linear(), reason="no kernel for pairs of bfloat16 on this processor"
)


def _bf16(*shape: int, seed: int, size: float = 1.0) -> torch.Tensor:
    return (torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * size).bfloat16()


def _laid_out(weight_OI: torch.Tensor) -> tuple[NativeLinear, torch.Tensor]:
    op = NativeLinear()
    return op, op.lay_out(weight_OI)


@pytest.mark.parametrize(("num_outputs", "num_inputs"), [(1, 2), (64, 2), (65, 6), (130, 34), (33, 256), (1408, 256)])
def test_panels_hold_the_matrix(num_outputs: int, num_inputs: int) -> None:
    weight_OI = _bf16(num_outputs, num_inputs, seed=0)
    packed = panels(weight_OI)
    assert packed.shape == (-(-num_outputs // 64), num_inputs // 2, 64, 2) and packed.is_contiguous()
    output, pair = num_outputs - 1, num_inputs // 2 - 1
    assert torch.equal(packed[output // 64, pair, output % 64], weight_OI[output, 2 * pair :])
    assert torch.equal(weight_of(packed, num_outputs), weight_OI)


def test_panels_of_a_matrix_that_lies_otherwise() -> None:
    for weight_OI in (
        _bf16(6, 65, seed=1).t(),
        _bf16(130 * 6 + 1, seed=2)[1:].view(130, 6),
        _bf16(70, 48, seed=3)[:, ::3],
    ):
        packed = panels(weight_OI)
        assert torch.equal(packed, panels(weight_OI.clone(memory_format=torch.contiguous_format)))
        assert torch.equal(weight_of(packed, len(weight_OI)), weight_OI)


@needs_kernel
@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("num_tokens", [1, 2, 3, 4, 5, 6, 7, 95, 96, 97, 200])
@pytest.mark.parametrize(
    ("num_outputs", "num_inputs"), [(1, 2), (15, 6), (16, 64), (33, 256), (48, 30), (64, 64), (100, 704), (512, 256)]
)
def test_products(num_outputs: int, num_inputs: int, num_tokens: int, with_bias: bool) -> None:
    weight_OI, x_TI = _bf16(num_outputs, num_inputs, seed=1), _bf16(num_tokens, num_inputs, seed=2)
    bias_O = _bf16(num_outputs, seed=3, size=num_inputs**0.5) if with_bias else None
    op, weight = _laid_out(weight_OI)
    wanted_TO = functional.linear(x_TI.float(), weight_OI.float(), None if bias_O is None else bias_O.float())
    out_TO = op(x_TI, weight, bias_O)
    assert out_TO.dtype is torch.bfloat16
    torch.testing.assert_close(out_TO.float(), wanted_TO, rtol=2**-8, atol=1e-4 * num_inputs**0.5)


@needs_kernel
def test_a_row_is_the_same_in_every_batch() -> None:
    """Also where the product is spread over threads, and whichever tile a row falls into."""
    op, weight = _laid_out(_bf16(1408, 256, seed=1))
    x_TI = _bf16(301, 256, seed=2)
    whole_TO = op(x_TI, weight, None)
    for start, end in ((0, 1), (0, 5), (3, 9), (90, 130), (300, 301), (17, 301)):
        assert torch.equal(op(x_TI[start:end], weight, None), whole_TO[start:end]), (start, end)


@needs_kernel
def test_layouts_of_the_inputs() -> None:
    op, weight = _laid_out(_bf16(70, 32, seed=1))
    wide_TI = _bf16(12, 96, seed=2)
    for x_I in (
        wide_TI[:, 32:64],  # rows far apart
        wide_TI[:, :64:2],  # numbers far apart
        wide_TI[:, :32].t().contiguous().t(),  # columns first
        wide_TI.view(3, 4, 96)[..., 5:37],  # more dimensions, at an odd address
        wide_TI[0, :32],  # none but the inputs
        wide_TI[:0, :32],  # no token
    ):
        before = x_I.clone()
        out_O = op(x_I, weight, None)
        assert out_O.shape == (*x_I.shape[:-1], 70)
        assert torch.equal(out_O, op(x_I.contiguous().view(-1, 32), weight, None).view(out_O.shape))
        assert torch.equal(x_I, before)


@needs_kernel
def test_nothing_is_written_past_the_result() -> None:
    op, weight = _laid_out(_bf16(33, 16, seed=1))
    x_TI = _bf16(5, 16, seed=2)
    memory = torch.full((7 * 33,), -7.0, dtype=torch.bfloat16)
    KERNELS.linear(
        1, memory[33:].data_ptr(), x_TI.data_ptr(), 16, weight.data_ptr(), 0, 5, 16, 33,
    )  # fmt: skip
    assert torch.equal(memory[33:-33].view(5, 33), op(x_TI, weight, None))
    assert (memory[:33] == -7).all() and (memory[-33:] == -7).all()


@needs_kernel
def test_what_is_no_number_stays_in_its_row() -> None:
    op, weight = _laid_out(_bf16(80, 64, seed=1))
    x_TI = _bf16(8, 64, seed=2)
    clean_TO = op(x_TI, weight, None)
    x_TI[3, 5], x_TI[4, 7] = float("nan"), float("inf")
    out_TO = op(x_TI, weight, None)
    assert out_TO[3].isnan().all() and not out_TO[4].isfinite().any()
    others = [0, 1, 2, 5, 6, 7]
    assert torch.equal(out_TO[others], clean_TO[others])


def test_what_the_kernel_does_not_know_stays_a_matrix() -> None:
    op = NativeLinear()
    for weight_OI in (torch.randn(8, 6), torch.randn(8, 6).half(), _bf16(8, 7, seed=1), _bf16(0, 8, seed=1)):
        assert op.lay_out(weight_OI) is weight_OI
        x_TI = torch.randn(3, weight_OI.shape[1]).to(weight_OI.dtype)
        assert torch.equal(op(x_TI, weight_OI, None), functional.linear(x_TI, weight_OI))


@needs_kernel
def test_a_large_table_that_others_read_is_not_copied() -> None:
    rows = LARGEST_COPY_BYTES // 512
    fits, too_large = (torch.empty(count, 256, dtype=torch.bfloat16) for count in (rows, rows + 1))
    assert NativeLinear().lay_out(too_large, is_shared=True) is too_large
    assert NativeLinear().lay_out(fits, is_shared=True).dim() == 4 == NativeLinear().lay_out(too_large).dim()


@needs_kernel
def test_other_inputs_are_the_definition() -> None:
    """As torch does: another dtype beside the weight's is an error, and so is another size."""
    op, weight = _laid_out(_bf16(8, 6, seed=1))
    for x_TI, bias_O in (
        (torch.randn(3, 6), None),
        (_bf16(3, 8, seed=2), None),
        (_bf16(3, 6, seed=2), _bf16(9, seed=3)),
    ):
        with pytest.raises(RuntimeError):
            op(x_TI, weight, bias_O)


@needs_kernel
def test_it_can_be_traced() -> None:
    weight_OI, x_TI = _bf16(40, 16, seed=1), _bf16(3, 16, seed=2)
    op, weight = _laid_out(weight_OI)
    traced = torch.compile(op, backend="eager", fullgraph=True)
    assert torch.equal(traced(x_TI, weight, None), functional.linear(x_TI, weight_OI))


@needs_kernel
def test_wrong_calls_are_errors() -> None:
    for arguments in ((0,), (0, 0, 0, 2, 0, 0, 0, 2, 0), (1, 0, 0, 3, 0, 0, 0, 3, 0)):
        with pytest.raises(TypeError, match=r"too few arguments|linear takes bfloat16"):
            KERNELS.linear(*arguments)
