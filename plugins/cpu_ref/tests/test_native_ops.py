"""The small kernels against the core's definitions, and that they step back where they cannot do a thing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from vllm.errors import ConfigError
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


def test_what_torch_would_spread_is_not_read_past_its_end() -> None:
    """One residual, or one token's angles, for all: nothing in the core does that, and the kernels cannot."""
    norm, rotate = NativeRMSNorm(8, 1e-5, dtype=torch.float32, device=HOST), NativeRotaryEmbedding()
    x_H, residual_H = torch.randn(3, 8), torch.randn(1, 8)
    for found_H, wanted_H in zip(norm(x_H, residual_H), norm.forward_native(x_H, residual_H), strict=True):
        assert torch.equal(found_H, wanted_H)
    x_THD, cos_TR, sin_TR = torch.randn(3, 2, 8), torch.randn(1, 8), torch.randn(1, 8)
    assert torch.equal(rotate(x_THD, cos_TR, sin_TR), rotate.forward_native(x_THD, cos_TR, sin_TR))
    with pytest.raises(RuntimeError, match="size"):
        norm(torch.randn(3, 7))


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
    with pytest.raises(TypeError, match="no such type"):
        KERNELS.rotary(3, *[0] * 12)
    with pytest.raises(ValueError, match="no kernels named 'SSE9'"):
        KERNELS.use("SSE9")


def test_a_step_without_memory_is_an_error_not_the_end_of_the_process() -> None:
    """Heads of 2^50 numbers: what allocates does so before the threads start, and holds the GIL again when it fails."""
    nowhere, zeros = [0] * 12, torch.zeros(2, dtype=torch.int64)
    with pytest.raises(MemoryError):
        KERNELS.attention(0, *nowhere, *[zeros.data_ptr()] * 4, 1, 0, 1, 1, 1, 2**50, 16, 1.0, 0, 0.0)


def test_a_setting_that_is_neither_on_nor_off_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(library.VARIABLE, "plain")
    with pytest.raises(ConfigError, match="VLLM_CPU_REF_NATIVE is 'plain', but it must be one of 1, true"):
        library.kernels.__wrapped__()
    monkeypatch.setenv(library.VARIABLE, "Off")
    assert library.kernels.__wrapped__() is None


def test_what_is_compiled_for_an_instruction_set_shares_nothing_with_the_others() -> None:
    """A function template of the standard library is one function in the whole program, where it is not inlined: a processor may then run
    the one that was compiled for another. A kernel that needs such a thing takes it from plan.cpp."""
    folder = Path(library.__file__).parent / "kernels"
    for name in ("vectors.h", "attention.h", "elementwise.h", "every_set.h", "plan.h"):
        code = [line.split("//")[0] for line in (folder / name).read_text().splitlines()]
        assert not [line for line in code if "std::" in line], name
