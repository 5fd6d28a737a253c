"""The CPU's own 8-bit linear map equals the core's definition, with and without torch's integer kernel."""

from __future__ import annotations

import pytest
import torch

from vllm.testing.quantised_data import int8_weights, tokens_on_a_grid
from vllm_cpu_ref.native import int8


@pytest.mark.parametrize("has_kernel", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("shape", [(1,), (5,), (0,), (2, 3), (2, 0)])
def test_whole_numbers(has_kernel: bool, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    op = int8.CpuW8A8Int8Linear()
    op.has_kernel = has_kernel and int8.multiplies_exactly()
    weight_OI, scale_O = int8_weights(33, 1100)
    x_I, bias_O = tokens_on_a_grid(shape, 1100).to(dtype), torch.randn(33).to(dtype)
    for bias in (None, bias_O):
        found, wanted = op(x_I, weight_OI, scale_O, bias), op.forward_native(x_I, weight_OI, scale_O, bias)
        assert found.dtype == dtype
        torch.testing.assert_close(found, wanted, atol=0, rtol=torch.finfo(dtype).eps)


def test_a_kernel_that_saturates_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on CPUs that shift one side to 0 … 255, add pairs of products in 16 bits, and take the shift off in the end."""

    def saturating(left_TI: torch.Tensor, right_IO: torch.Tensor) -> torch.Tensor:
        shifted_TP2, right_P2O = (left_TI.float() + 128).unflatten(-1, (-1, 2)), right_IO.float().unflatten(0, (-1, 2))
        pairs_TPO = torch.einsum("tpi,pio->tpo", shifted_TP2, right_P2O).clamp(-32768, 32767)
        return (pairs_TPO.sum(1) - 128 * right_IO.float().sum(0)).to(torch.int32)

    monkeypatch.setattr(torch, "_int_mm", saturating)
    int8.multiplies_exactly.cache_clear()
    try:
        assert not int8.CpuW8A8Int8Linear().has_kernel
    finally:
        int8.multiplies_exactly.cache_clear()
