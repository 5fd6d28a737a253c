"""Indexing, moving, making and ordering of elements agree with the CPU, in the forms that samplers and batches use."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from on_npu import NPU, agrees, torch

FLOATS = torch.arange(24, dtype=torch.float32).reshape(4, 6) - 7
IDS = torch.tensor([3, 0, 3, 1])
COLUMNS = torch.tensor([[0, 5], [1, 1], [4, 2], [3, 3]])
MASK = FLOATS > 2
HALF = FLOATS.to(torch.bfloat16)


def put(x: Any, ids: Any, values: Any) -> Any:
    x[ids] = values
    return x


OPERATIONS: dict[str, tuple[Callable[..., Any], tuple[Any, ...]]] = {
    "index": (lambda x, i: x[i], (FLOATS, IDS)),
    "index two lists": (lambda x, i, j: x[i, j], (FLOATS, IDS, IDS)),
    "index middle": (lambda x, j: x[:, j], (FLOATS, IDS)),
    "index by mask": (lambda x, m: x[m], (FLOATS, MASK)),
    "index by empty": (lambda x, i: x[i], (FLOATS, IDS[:0])),
    "put number": (lambda x, i: put(x, i, 7.0), (FLOATS, IDS)),
    "put rows": (put, (FLOATS, torch.tensor([2, 0]), -FLOATS[:2])),
    "put by mask": (lambda x, m: put(x, m, 0.0), (FLOATS, MASK)),
    "put accumulate": (lambda x, i, v: x.index_put_((i,), v, accumulate=True), (FLOATS, IDS, FLOATS)),
    "put accumulate pairs": (lambda x, i, v: x.index_put_((i, i), v, accumulate=True), (FLOATS, IDS, FLOATS[:, 0])),
    "index_select": (lambda x, i: x.index_select(0, i), (FLOATS, IDS)),
    "index_select strided": (lambda x, i: x.t().index_select(1, i), (FLOATS, IDS)),
    "index_copy_": (lambda x, i, v: x.index_copy_(0, i, v), (FLOATS, torch.tensor([2, 0]), -FLOATS[:2])),
    "index_copy": (lambda x, i, v: x.index_copy(0, i, v), (FLOATS, torch.tensor([2, 0]), -FLOATS[:2])),
    "index_add": (lambda x, i, v: x.index_add(0, i, v), (FLOATS, IDS, FLOATS)),
    "index_fill_": (lambda x, i: x.index_fill_(0, i, 5), (FLOATS, IDS)),
    "gather": (lambda x, i: x.gather(1, i), (FLOATS, COLUMNS)),
    "scatter": (lambda x, i, v: x.scatter(1, i[:, :1], v), (FLOATS, COLUMNS, FLOATS)),
    "scatter number": (lambda x, i: x.scatter(1, i, 9.0), (FLOATS, COLUMNS)),
    "scatter_ number": (lambda x, i: x.scatter_(1, i, 9.0), (FLOATS, COLUMNS)),
    "scatter_add": (lambda x, i, v: x.scatter_add(1, i, v), (FLOATS, COLUMNS, FLOATS)),
    "embedding": (torch.nn.functional.embedding, (IDS, FLOATS)),
    "take": (torch.take, (FLOATS, IDS)),
    "masked_fill": (lambda x, m: x.masked_fill(m, float("-inf")), (FLOATS, MASK)),
    "masked_fill_ broadcast": (lambda x, m: x.masked_fill_(m[:, :1], 0), (FLOATS, MASK)),
    "where": (lambda m, x: torch.where(m, x, -x), (MASK, FLOATS)),
    "where number": (lambda m, x: torch.where(m, x, 0.5), (MASK, FLOATS)),
    "nonzero": (torch.nonzero, (MASK,)),
    "nonzero tuple": (lambda m: m.nonzero(as_tuple=True), (MASK,)),
    "masked_select": (torch.masked_select, (FLOATS, MASK)),
    "unique": (torch.unique, (IDS,)),
    "unique with counts": (lambda x: torch.unique(x, return_inverse=True, return_counts=True), (IDS,)),
    "bincount": (torch.bincount, (IDS,)),
    "isin": (lambda x: torch.isin(x, x[:1]), (IDS,)),
    "searchsorted": (torch.searchsorted, (torch.arange(5), IDS)),
    "cat": (lambda x, y: torch.cat([x, y, x[:0]]), (FLOATS, -FLOATS)),
    "cat strided": (lambda x, y: torch.cat([x.t(), y.t()], 1), (FLOATS, -FLOATS)),
    "stack": (lambda x, y: torch.stack([x, y], 1), (FLOATS, -FLOATS)),
    "split": (lambda x: x.split([1, 5], 1), (FLOATS,)),
    "chunk": (lambda x: x.chunk(2, -1), (FLOATS,)),
    "contiguous": (lambda x: x.t().contiguous(), (FLOATS,)),
    "reshape": (lambda x: x.t().reshape(-1), (FLOATS,)),
    "copy_": (lambda x, y: x.t().copy_(y.t()), (FLOATS, -FLOATS)),
    "copy_ casting": (lambda x, y: x.copy_(y), (FLOATS, HALF)),
    "to": (lambda x: (x.to(torch.bfloat16), x.to(torch.int32), x.bool(), x.half()), (FLOATS,)),
    "flip": (lambda x: x.flip(-1), (FLOATS,)),
    "roll": (lambda x: x.roll(2, 0), (FLOATS,)),
    "repeat": (lambda x: x.repeat(2, 3), (FLOATS,)),
    "repeat_interleave": (lambda x: x.repeat_interleave(2, 0), (FLOATS,)),
    "repeat_interleave by tensor": (lambda x, n: x.repeat_interleave(n, 0), (FLOATS, IDS)),
    "pad": (lambda x: torch.nn.functional.pad(x, (1, 2)), (FLOATS,)),
    "tril": (lambda x: (x.tril(), x.triu(1)), (FLOATS,)),
    "one_hot": (lambda i: torch.nn.functional.one_hot(i, 4), (IDS,)),
    "clamp": (lambda x: (x.clamp(-1, 2), x.clamp_min(0), x.clamp(max=1)), (FLOATS,)),
    "addcmul": (torch.addcmul, (FLOATS, FLOATS, FLOATS)),
    "cumsum": (lambda x: x.cumsum(-1), (FLOATS,)),
    "cumsum of flags": (lambda m: m.cumsum(0), (MASK,)),
    "any and all": (lambda m: (m.any(), m.all(-1), m.any(0)), (MASK,)),
    "argmax": (lambda x: (x.argmax(-1), x.argmin(0)), (FLOATS,)),
    "logsumexp": (lambda x: x.logsumexp(-1), (FLOATS,)),
    "softmax": (lambda x: (x.softmax(-1), x.log_softmax(-1)), (FLOATS,)),
    "topk": (lambda x: x.topk(3, -1), (FLOATS,)),
    "sort": (lambda x: (x.sort(-1, descending=True), x.sort(0)), (FLOATS,)),
    "argsort of ties": (lambda x: x.argsort(stable=True), (IDS,)),
    "shifts": (lambda x: (x << 2, x >> 1, x ^ 5, ~x), (IDS,)),
    "wrapping product": (lambda x: x * 0x5851F42D4C957F2D, (IDS + 2**40,)),
    "pow of number": (lambda x: 2.0**x, (FLOATS,)),
    "mm": (lambda x, y: x @ y.t(), (FLOATS, -FLOATS)),
    "addmm": (lambda b, x, y: torch.addmm(b, x, y.t()), (FLOATS[:, 0], FLOATS, FLOATS)),
    "linear": (torch.nn.functional.linear, (FLOATS, FLOATS, FLOATS[:, 0])),
    "bmm": (torch.bmm, (FLOATS.reshape(2, 2, 6), FLOATS.reshape(2, 6, 2))),
    "matmul bfloat16": (lambda x: x @ x.t(), (HALF,)),
    "silu": (torch.nn.functional.silu, (FLOATS,)),
    "gelu": (lambda x: torch.nn.functional.gelu(x, approximate="tanh"), (FLOATS,)),
    "inverse functions": (lambda x: [f(x / 20) for f in (torch.acos, torch.asin, torch.atan)], (FLOATS,)),
    "hyperbolic": (lambda x: [f(x / 4) for f in (torch.cosh, torch.sinh, torch.tan)], (FLOATS,)),
    "error functions": (lambda x: (torch.erfc(x), torch.exp2(x), torch.frac(x / 3), torch.log10(x + 8)), (FLOATS,)),
    "infinities": (lambda x: (torch.isposinf(1 / x), torch.isneginf(x), torch.signbit(x), torch.isinf(x)), (FLOATS,)),
    "nan_to_num": (lambda x: torch.nan_to_num(x / (x - x), 1.0, 2.0, 3.0), (FLOATS,)),
    "isclose": (lambda x: (torch.isclose(x, x + 1e-9), torch.allclose(x, x)), (FLOATS,)),
    "lerp": (lambda x: (torch.lerp(x, -x, 0.25), torch.lerp(x, -x, x / 9)), (FLOATS,)),
    "addcdiv": (lambda x: torch.addcdiv(x, x, x + 0.5, value=2), (FLOATS,)),
    "atan2": (torch.atan2, (FLOATS, FLOATS + 1)),
    "logaddexp": (torch.logaddexp, (FLOATS, -FLOATS)),
    "rounding division": (
        lambda x: (torch.div(x, 4, rounding_mode="trunc"), torch.div(x, 4, rounding_mode="floor")),
        (FLOATS,),
    ),
    "number minus tensor": (lambda x: (3 - x, 5 % (x + 30), torch.rsub(x, x)), (FLOATS,)),
    "clamp by tensors": (lambda x, y: (x.clamp(y, y + 1), x.clamp_min(y), x.clamp_max(y)), (FLOATS, -FLOATS)),
    "prod": (lambda x: (x[:2].prod(), x.prod(0)), (FLOATS / 9,)),
    "spread": (lambda x: (x.var(-1), x.std(0), x.norm(), x.norm(dim=-1)), (FLOATS,)),
    "cumulative": (lambda x: (x.cumprod(-1), x.cummax(0), x.cummin(-1)), (FLOATS / 9,)),
    "nansum": (lambda x: torch.nansum(x / x, 1), (FLOATS,)),
    "kthvalue": (lambda x: x.kthvalue(2, -1), (FLOATS,)),
    "bucketize": (lambda x: torch.bucketize(x, torch.arange(0.0, 9.0, device=x.device)), (FLOATS,)),
    "unique_consecutive": (lambda x: torch.unique_consecutive(x, return_counts=True), (IDS.sort().values,)),
    "masked_scatter": (lambda x, m, v: x.masked_scatter_(m, v), (FLOATS, MASK, -FLOATS)),
    "put_": (lambda x, i, v: x.put_(i, v), (FLOATS, torch.tensor([3, 0]), FLOATS[0, :2])),
    "scatter reduced": (lambda x, i, v: x.scatter(1, i, v, reduce="add"), (FLOATS, COLUMNS, FLOATS)),
    "vectors": (lambda x: (torch.mv(x, x[0]), torch.dot(x[0], x[1]), torch.addmv(x[:, 0], x, x[0])), (FLOATS,)),
    "baddbmm": (torch.baddbmm, (FLOATS[:2, :4].reshape(2, 2, 2), FLOATS.reshape(2, 2, 6), FLOATS.reshape(2, 6, 2))),
    "activations": (
        lambda x: [
            f(x) for f in (torch.nn.functional.softplus, torch.nn.functional.leaky_relu, torch.nn.functional.hardswish)
        ],
        (FLOATS,),
    ),
    "glu": (torch.nn.functional.glu, (FLOATS,)),
    "integers with numbers": (
        lambda x: (x & 3, x | 4, x >> 1, torch.isin(x, 3), torch.searchsorted(x.sort().values, 2)),
        (IDS,),
    ),
    "equal": (lambda x: (torch.equal(x, x), torch.equal(x, -x)), (FLOATS,)),
    "index_fill by list": (lambda x: x.index_fill(0, torch.tensor([1], device=x.device), 2.0), (FLOATS,)),
    "triangles in place": (lambda x: (x.tril_(), x.triu_(), x.tril(-1)), (FLOATS,)),
    "layer_norm": (lambda x: torch.nn.functional.layer_norm(x, (6,)), (FLOATS,)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_agrees_with_cpu(name: str) -> None:
    function, inputs = OPERATIONS[name]
    agrees(function, *inputs, tolerance=1e-5)


def test_what_is_made_on_the_npu_agrees_with_the_cpu() -> None:
    for make in (
        lambda device: torch.arange(2, 20, 3, device=device),
        lambda device: torch.arange(5, dtype=torch.float32, device=device),
        lambda device: torch.full((2, 3), 1.5, device=device),
        lambda device: torch.zeros(4, dtype=torch.int64, device=device),
        lambda device: torch.ones(0, device=device),
        lambda device: torch.linspace(0, 1, 5, device=device),
        lambda device: torch.eye(3, device=device),
    ):
        torch.testing.assert_close(make(NPU).cpu(), make("cpu"))


def test_random_numbers_repeat_with_the_seed_and_differ_between_calls() -> None:
    def drawn() -> list[list[float]]:
        torch.npu.manual_seed(5)
        probabilities = torch.full((3, 50), 0.02, device=NPU)
        draws = [torch.rand(8, device=NPU), torch.rand(8, device=NPU), torch.randn(8, device=NPU)]
        draws += [torch.empty(8, device=NPU).exponential_(), torch.multinomial(probabilities, 8).flatten()]
        draws += [
            torch.randperm(8, device=NPU),
            torch.empty(8, device=NPU).bernoulli_(0.5),
            torch.randint(9, (8,), device=NPU),
        ]
        return [draw.cpu().tolist() for draw in draws]

    first, second = drawn(), drawn()
    assert first == second
    assert first[0] != first[1]
    assert all(0 <= number < 1 for number in first[0])
