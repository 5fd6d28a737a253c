"""The small kernels against the core's definitions, and that they step back where they cannot do a thing."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vllm_cpu_ref.native import library
from vllm_cpu_ref.native.ops import NativeRMSNorm, NativeRotaryEmbedding

KERNELS: Any = library.kernels()
pytestmark = pytest.mark.skipif(KERNELS is None, reason="the kernels are not compiled")
HOST = torch.device("cpu")
DTYPES = [torch.float32, torch.bfloat16, torch.float16]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 16, 72, 257])
@pytest.mark.parametrize("leading", [(5,), (2, 3), (300,), (0,)])
@pytest.mark.parametrize("with_residual", [False, True])
def test_norms(dtype: torch.dtype, size: int, leading: tuple[int, ...], with_residual: bool) -> None:
    torch.manual_seed(0)
    norm = NativeRMSNorm(size, 1e-5, dtype=dtype, device=HOST)
    norm.weight.copy_(torch.randn(size))
    x_H, residual_H = (torch.randn(*leading, size + 3).to(dtype)[..., :size] for _ in range(2))
    arguments = (x_H, residual_H) if with_residual else (x_H,)
    before = [each.clone() for each in arguments]
    ulp = torch.finfo(dtype).eps  # sums of squares differ in their order, so a rounding may go the other way
    torch.testing.assert_close(norm(*arguments), norm.forward_native(*arguments), rtol=2.1 * ulp, atol=1e-5)
    assert all(torch.equal(*pair) for pair in zip(arguments, before, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("head_size", "rotary_size"), [(64, 64), (64, 32), (40, 40), (96, 24)])
@pytest.mark.parametrize("num_tokens", [0, 1, 7, 300])
def test_rotation(dtype: torch.dtype, head_size: int, rotary_size: int, num_tokens: int) -> None:
    torch.manual_seed(0)
    op = NativeRotaryEmbedding()
    x_THD = torch.randn(num_tokens, 5, head_size).to(dtype)[:, 1:4]
    cos_TR, sin_TR = torch.randn(num_tokens, 2, rotary_size).to(dtype).unbind(1)
    torch.testing.assert_close(op(x_THD, cos_TR, sin_TR), op.forward_native(x_THD, cos_TR, sin_TR))


def test_what_the_kernels_do_not_know_is_the_definition() -> None:
    norm = NativeRMSNorm(8, 1e-5, dtype=torch.float64, device=HOST)
    x_H = torch.randn(3, 8, dtype=torch.float64)
    assert torch.equal(norm(x_H), norm.forward_native(x_H))  # type: ignore[arg-type]
    pairs = NativeRotaryEmbedding(interleaved=True)
    x_THD, angles_TR = torch.randn(3, 2, 8), torch.randn(3, 8)
    assert torch.equal(pairs(x_THD, angles_TR, angles_TR), pairs.forward_native(x_THD, angles_TR, angles_TR))


def test_a_nan_stays_one() -> None:
    norm = NativeRMSNorm(20, 1e-5, dtype=torch.bfloat16, device=HOST)
    x_H = torch.ones(2, 20, dtype=torch.bfloat16)
    x_H[1, 3] = float("nan")
    out_H = norm(x_H)
    assert isinstance(out_H, torch.Tensor) and not out_H[0].isnan().any() and out_H[1].isnan().all()


def test_wrong_calls_are_errors() -> None:
    with pytest.raises(TypeError, match="too few arguments"):
        KERNELS.rotary(0)
    with pytest.raises(TypeError):
        KERNELS.rms_norm("x")
    with pytest.raises(ValueError, match="no kernels named 'SSE9'"):
        KERNELS.use("SSE9")
