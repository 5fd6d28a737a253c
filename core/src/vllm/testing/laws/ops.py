"""Laws of the ops: what the platform puts in force equals the native op's `forward_native` in fp32 on the same rounded inputs.

Legend: T tokens, H hidden or normalised size, I inputs of a linear map, O its outputs, D head size, F frequencies, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from vllm.model_executor.custom_op import OpSet, native_ops
from vllm.platforms.capabilities import Feature
from vllm.testing.bench import Bench
from vllm.testing.expert_mixtures import HIDDEN, Mixture, expert_weights, mixtures, shard
from vllm.testing.law import law
from vllm.testing.quantised_data import int8_weights, tokens_on_a_grid

HOST = torch.device("cpu")
SHAPES: tuple[tuple[int, ...], ...] = ((1,), (7,), (0,), (33,), (2, 3))
"""Leading dimensions; (0,) is the empty step."""


def _op(bench: Bench, name: str, *args: Any, **kwargs: Any) -> Any:
    """The op in force on the platform."""
    return OpSet(bench.platform.op_overrides()).create(name, *args, **kwargs)


def _oracle(name: str, *args: Any, **kwargs: Any) -> Any:
    """The native op; called through `forward_native`, with fp32 tensors on the host."""
    return native_ops()[name](*args, **kwargs)


def _random(bench: Bench, *shape: int, seed: int = 0, size: float = 1.0) -> torch.Tensor:
    """Normal values on the device, rounded to the dtype under test."""
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape))) * size
    return values.to(device=bench.device, dtype=bench.dtype)


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(HOST, torch.float32)


def _compare(bench: Bench, what: str, found: torch.Tensor, expected: torch.Tensor) -> None:
    bench.equal(f"{what}: dtype", found.dtype, bench.dtype)
    bench.close(what, found, expected, bench.tolerance.op, relative=True)


# -- norms


def _norm_pair(bench: Bench, name: str, size: int, eps: float) -> tuple[Any, Any]:
    """(op in force, fp32 oracle) with one random weight."""
    op = _op(bench, name, size, eps, dtype=bench.dtype, device=bench.device)
    oracle = _oracle(name, size, eps, dtype=torch.float32, device=HOST)
    weight = _random(bench, size, seed=5) * 0.5 + 1.0
    op.weight.copy_(weight)
    oracle.weight.copy_(_wide(weight))
    return op, oracle


def _check_norm(bench: Bench, name: str) -> None:
    for size, eps, magnitude in ((64, 1e-6, 1.0), (320, 1e-5, 20.0), (64, 1e-5, 2e-3), (96, 1e-6, 5e-4)):
        op, oracle = _norm_pair(bench, name, size, eps)
        for shape in SHAPES:
            x = _random(bench, *shape, size, size=magnitude)
            before = x.clone()
            what = f"{name} of {tuple(x.shape)} × {magnitude:g}, eps {eps:g}"
            _compare(bench, what, op(x), oracle.forward_native(_wide(x)))
            bench.holds(torch.equal(x, before), f"{what} changed its argument")


def _check_residual(bench: Bench, name: str) -> None:
    for size, eps, magnitude in ((64, 1e-6, 1.0), (320, 1e-5, 2e-3)):
        op, oracle = _norm_pair(bench, name, size, eps)
        for shape in SHAPES:
            x, residual = (_random(bench, *shape, size, seed=seed, size=magnitude) for seed in (1, 2))
            before = x.clone(), residual.clone()
            normed, total = op(x, residual)
            rounded = _wide(before[0] + before[1])
            what = f"{name} with residual, {tuple(x.shape)} × {magnitude:g}"
            _compare(bench, f"{what}: the sum", total, _wide(before[0]) + _wide(before[1]))
            _compare(bench, f"{what}: its norm", normed, oracle.forward_native(rounded))
            unchanged = torch.equal(x, before[0]) and torch.equal(residual, before[1])
            bench.holds(unchanged, f"{what} changed its arguments")


@law()
def rms_norm(bench: Bench) -> None:
    """rms_norm = x / sqrt(mean(x²) + eps) × weight, also where eps outweighs the mean; its argument is not changed."""
    _check_norm(bench, "rms_norm")


@law()
def rms_norm_with_residual(bench: Bench) -> None:
    """rms_norm with a residual gives (norm of x + residual, x + residual) and changes neither."""
    _check_residual(bench, "rms_norm")


@law()
def gemma_rms_norm(bench: Bench) -> None:
    """gemma_rms_norm weighs with 1 + weight."""
    _check_norm(bench, "gemma_rms_norm")


@law()
def gemma_rms_norm_with_residual(bench: Bench) -> None:
    """gemma_rms_norm with a residual gives (norm of x + residual, x + residual) and changes neither."""
    _check_residual(bench, "gemma_rms_norm")


# -- gated activations


def _check_gated(bench: Bench, name: str) -> None:
    op, oracle = _op(bench, name), _oracle(name)
    for size in (64, 352):
        for shape in SHAPES:
            gate_up = _random(bench, *shape, 2 * size, size=3.0)
            before = gate_up.clone()
            _compare(bench, f"{name} of {tuple(gate_up.shape)}", op(gate_up), oracle.forward_native(_wide(before)))
            bench.holds(torch.equal(gate_up, before), f"{name} changed its argument")


@law()
def silu_and_mul(bench: Bench) -> None:
    """silu_and_mul = silu(first half) × second half."""
    _check_gated(bench, "silu_and_mul")


@law()
def gelu_and_mul(bench: Bench) -> None:
    """gelu_and_mul = exact gelu(first half) × second half."""
    _check_gated(bench, "gelu_and_mul")


@law()
def gelu_tanh_and_mul(bench: Bench) -> None:
    """gelu_tanh_and_mul = tanh-approximated gelu(first half) × second half."""
    _check_gated(bench, "gelu_tanh_and_mul")


# -- matrices


@law()
def linear(bench: Bench) -> None:
    """linear = x · weightᵀ, plus the bias where there is one."""
    oracle = _oracle("linear")
    for inputs, outputs in ((64, 96), (256, 33), (48, 512)):
        op, weight_OI = _op(bench, "linear"), _random(bench, outputs, inputs, seed=3, size=inputs**-0.5)
        weight = op.lay_out(weight_OI.clone())
        for bias_O in (None, _random(bench, outputs, seed=4)):
            for shape in SHAPES:
                x = _random(bench, *shape, inputs)
                expected = oracle.forward_native(_wide(x), _wide(weight_OI), None if bias_O is None else _wide(bias_O))
                what = f"linear {inputs} → {outputs}{'' if bias_O is None else ' with bias'} of {tuple(x.shape)}"
                _compare(bench, what, op(x, weight, bias_O), expected)


@law()
def vocab_embedding(bench: Bench) -> None:
    """vocab_embedding gives the rows of the shard, bit by bit, and zeros for ids of other ranks."""
    for first_id, num_ids, is_whole in ((0, 40, True), (0, 20, False), (20, 20, False)):
        args = {"is_whole": is_whole}
        op = _op(bench, "vocab_embedding", first_id, num_ids, **args)
        oracle = _oracle("vocab_embedding", first_id, num_ids, **args)
        weight_VH = _random(bench, num_ids, 64)
        for count in (1, 0, 57):
            ids_T = torch.arange(count, dtype=torch.int64) * 7 % 40
            expected_TH = oracle.forward_native(ids_T, _wide(weight_VH))
            what = f"embedding of {count} ids, shard {first_id} … {first_id + num_ids - 1}"
            bench.close(what, op(ids_T.to(bench.device), weight_VH), expected_TH, 0.0)


# -- matrices of 8 bits


@law(Feature.QUANTIZATION)
def w8a8_int8_linear(bench: Bench) -> None:
    """w8a8_int8_linear multiplies whole numbers exactly, with a step per token and a scale per output, and adds the bias once."""
    for inputs, outputs in ((64, 96), (256, 33), (1536, 48)):
        for shape in SHAPES:
            x = tokens_on_a_grid(shape, inputs).to(device=bench.device, dtype=bench.dtype)
            _check_int8(bench, "w8a8_int8_linear", x, outputs)


@law(Feature.QUANTIZATION)
def w8a16_int8_linear(bench: Bench) -> None:
    """w8a16_int8_linear = x · (weight × scale)ᵀ with one scale per output, plus the bias where there is one."""
    for inputs, outputs in ((64, 96), (256, 33)):
        for shape in SHAPES:
            _check_int8(bench, "w8a16_int8_linear", _random(bench, *shape, inputs), outputs)


def _check_int8(bench: Bench, name: str, x: torch.Tensor, outputs: int) -> None:
    op, oracle, before = _op(bench, name), _oracle(name), x.clone()
    weight_OI, scale_O = int8_weights(outputs, x.shape[-1])
    laid_out = op.lay_out(weight_OI.to(bench.device), scale_O.to(bench.device))
    for bias_O in (None, _random(bench, outputs, seed=4)):
        expected = oracle.forward_native(_wide(before), weight_OI, scale_O, None if bias_O is None else _wide(bias_O))
        what = f"{name} {x.shape[-1]} → {outputs}{'' if bias_O is None else ' with bias'} of {tuple(x.shape)}"
        _compare(bench, what, op(x, *laid_out, bias_O), expected)
        bench.holds(torch.equal(x, before), f"{what} changed its argument")


# -- experts


@law(Feature.MIXTURE_OF_EXPERTS)
def fused_moe(bench: Bench) -> None:
    """fused_moe = Σ share × expert over each token's best experts, however tokens fall on experts; over shards it sums to the same."""
    for mixture in mixtures():
        whole = expert_weights(mixture.routing.num_experts)
        rounded = [_wide(weight.to(bench.dtype)) for weight in whole]
        scores_TE = _on_device(bench, mixture.scores_TE)
        x_TH = _random(bench, len(scores_TE), HIDDEN)
        before = x_TH.clone(), scores_TE.clone()
        oracle = _oracle("fused_moe", mixture.routing, activation_op=mixture.activation_op)
        expected_TH = oracle.forward_native(_wide(x_TH), _wide(scores_TE), *rounded)
        for ranks in (1, 2):
            shards = [shard(rounded, rank, ranks) for rank in range(ranks)]
            found_TH = sum(_mixed(bench, mixture, x_TH, scores_TE, *weights) for weights in shards)
            _compare(bench, f"{mixture.what}, {ranks} shard{'s' * (ranks > 1)}", found_TH, expected_TH)
        unchanged = torch.equal(x_TH, before[0]) and torch.equal(scores_TE, before[1])
        bench.holds(unchanged, f"{mixture.what}: fused_moe changed its arguments")


def _mixed(bench: Bench, mixture: Mixture, x_TH: torch.Tensor, scores_TE: torch.Tensor, *weights: torch.Tensor) -> Any:
    """What the op in force makes of one shard, in the dtype under test."""
    op = _op(bench, "fused_moe", mixture.routing, activation_op=mixture.activation_op)
    return op(x_TH, scores_TE, *op.lay_out(*(_on_device(bench, weight) for weight in weights)))


def _on_device(bench: Bench, tensor: torch.Tensor) -> torch.Tensor:
    return tensor.to(device=bench.device, dtype=bench.dtype)


# -- rotary


@law()
def rotary_embedding(bench: Bench) -> None:
    """rotary_embedding turns the pairs of a head, or of its first part, by its position's angles, in its own table layout."""
    for interleaved in (False, True):
        for head_size, rotary_dim in ((64, 64), (64, 32), (128, 128)):
            _check_rotary(bench, interleaved, head_size, rotary_dim)


def _check_rotary(bench: Bench, interleaved: bool, head_size: int, rotary_dim: int) -> None:
    op = _op(bench, "rotary_embedding", interleaved=interleaved)
    oracle = _oracle("rotary_embedding", interleaved=interleaved)
    cos_PF, sin_PF = _angles(rotary_dim, bench.dtype)
    table = torch.stack(op.lay_out(cos_PF, sin_PF), dim=1).to(device=bench.device, dtype=bench.dtype)
    plain_table = torch.stack(oracle.lay_out(cos_PF, sin_PF), dim=1)
    for positions in ([0], [5, 6, 7, 300], [], [511, 0, 17, 17, 4, 3, 2]):
        for heads in (1, 4):
            x_THD = _strided(bench, len(positions), heads, head_size)
            before = x_THD.clone()
            found = op(x_THD, *_rows(table, positions))
            expected = oracle.forward_native(_wide(before), *_rows(plain_table, positions))
            what = f"rotary{' interleaved' if interleaved else ''} {rotary_dim} of {head_size}, positions {positions}"
            _compare(bench, what, found, expected)
            bench.holds(torch.equal(x_THD, before), f"{what}: it changed its argument")


def _angles(rotary_dim: int, dtype: torch.dtype, positions: int = 512) -> tuple[torch.Tensor, torch.Tensor]:
    """(cos_PF, sin_PF) in fp32, rounded to `dtype` as the table is."""
    inv_freq_F = 10000.0 ** (-torch.arange(0, rotary_dim, 2, dtype=torch.float32) / rotary_dim)
    angles_PF = torch.arange(positions, dtype=torch.float32)[:, None] * inv_freq_F
    return angles_PF.cos().to(dtype).float(), angles_PF.sin().to(dtype).float()


def _rows(table_P2R: torch.Tensor, positions: Sequence[int]) -> tuple[torch.Tensor, ...]:
    index = torch.tensor(positions, dtype=torch.int64, device=table_P2R.device)
    return table_P2R.index_select(0, index).unbind(1)


def _strided(bench: Bench, tokens: int, heads: int, head_size: int) -> torch.Tensor:
    """A view of a wider tensor, as queries and keys are of their fused projection."""
    return _random(bench, tokens, heads + 2, head_size)[:, 1 : heads + 1]
