"""The small kernels against the core's definitions, and that they step back where they cannot do a thing."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vllm.errors import ConfigError
from vllm_cpu_ref.native import library
from vllm_cpu_ref.native.ops import NativeRMSNorm, NativeRotaryEmbedding, NativeSampler, NativeSiluAndMul

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
    for name in ("vectors.h", "attention.h", "elementwise.h", "linear.h", "every_set.h", "plan.h"):
        code = [line.split("//")[0] for line in (folder / name).read_text().splitlines()]
        assert not [line for line in code if "std::" in line], name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 16, 17, 704])
@pytest.mark.parametrize("leading", [(5,), (2, 3), (300,), (0,)])
def test_gated_activations(dtype: torch.dtype, size: int, leading: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    op = NativeSiluAndMul()
    wide_2I = torch.randn(*leading, 2 * size + 3).to(dtype) * 8
    for gate_up_2I in (wide_2I[..., : 2 * size], wide_2I[..., : 2 * size].contiguous()):
        before = gate_up_2I.clone()
        ulp = torch.finfo(dtype).eps  # of an exponential that differs in its last place
        torch.testing.assert_close(op(gate_up_2I), op.forward_native(gate_up_2I), rtol=4.1 * ulp, atol=1e-30)
        assert torch.equal(gate_up_2I, before)


@pytest.mark.parametrize("dtype", DTYPES)
def test_gates_at_their_limits(dtype: torch.dtype) -> None:
    """Far gates are closed or open, and what is no number stays none, in every set's vectors and in their rest."""
    largest = torch.finfo(dtype).max
    limits = [0.0, -0.0, 1e4, -1e4, -88.0, 88.0, largest, -largest, float("inf"), -float("inf"), float("nan")]
    op = NativeSiluAndMul()
    gate_up_2I = torch.tensor([limits * 2 + [0.5] * len(limits) * 2], dtype=dtype)
    torch.testing.assert_close(op(gate_up_2I), op.forward_native(gate_up_2I), rtol=1e-2, atol=1e-30, equal_nan=True)


def _most_likely(logits_NV: torch.Tensor) -> torch.Tensor:
    tokens_N = torch.full((len(logits_NV),), -1, dtype=torch.int64)
    KERNELS.most_likely(
        library.TYPES[logits_NV.dtype], tokens_N.data_ptr(), logits_NV.data_ptr(), logits_NV.stride(0), *logits_NV.shape
    )
    return tokens_N


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 15, 16, 33, 4096])
@pytest.mark.parametrize("num_rows", [1, 7, 100])
def test_the_first_of_the_largest(dtype: torch.dtype, size: int, num_rows: int) -> None:
    """Few different numbers, so that many are the largest."""
    torch.manual_seed(0)
    logits_NV = torch.randint(-3, 3, (num_rows, size + 5)).to(dtype)[:, :size]
    for shift in (0.0, -9.0, float("-inf"), float("inf")):
        shifted_NV = logits_NV.clone() + shift
        assert torch.equal(_most_likely(shifted_NV), shifted_NV.float().max(-1).indices)
    strided_NV = torch.randn(num_rows, 2 * size).to(dtype)[:, :size]
    assert torch.equal(_most_likely(strided_NV), strided_NV.float().max(-1).indices)


@pytest.mark.parametrize("dtype", DTYPES)
def test_no_number_is_the_largest_of_all(dtype: torch.dtype) -> None:
    """As in torch, which tells the first; an infinity beside it does not hide it."""
    for size in (5, 16, 40):
        for places in ((0,), (size - 1,), (2, size - 2), (size // 2,)):
            logits_NV = torch.randn(3, size).to(dtype)
            logits_NV[1, list(places)] = float("nan")
            logits_NV[1, 1] = float("inf")
            assert torch.equal(_most_likely(logits_NV), logits_NV.float().max(-1).indices), (size, places)


def test_only_plain_greedy_steps_are_sampled_by_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A grammar, or any row that wants more, is the core's."""
    sampler, logits_NV = NativeSampler(), torch.randn(4, 50)
    plain: Any = SimpleNamespace(is_plain_greedy=True)
    free, bound = (SimpleNamespace(grammar=grammar) for grammar in (None, object()))
    assert torch.equal(sampler(logits_NV, plain, free).tokens_N, logits_NV.argmax(-1))
    monkeypatch.setattr(NativeSampler, "forward_native", lambda *_: "the core's")
    assert sampler(logits_NV, plain, bound) == "the core's"
    assert sampler(logits_NV, SimpleNamespace(is_plain_greedy=False), free) == "the core's"
    assert sampler(logits_NV.double(), plain, free) == "the core's"
    assert sampler(logits_NV, plain, free) != "the core's"


@pytest.mark.parametrize("name", ["PLAIN", "AVX2", "AVX512", "AVX512_BF16"])
def test_every_set_of_this_processor_computes_the_same(name: str) -> None:
    best = KERNELS.instruction_set()
    try:
        KERNELS.use(name)
    except ValueError:
        pytest.skip("this processor has not got these instructions")
    try:
        for dtype in DTYPES:
            test_gated_activations(dtype, 17, (5,))
            test_gates_at_their_limits(dtype)
            test_the_first_of_the_largest(dtype, 33, 7)
            test_no_number_is_the_largest_of_all(dtype)
            test_norms(dtype, 72, (5,), with_residual=True)
            test_rotation(dtype, 40, 40, 7)
    finally:
        KERNELS.use(best)
