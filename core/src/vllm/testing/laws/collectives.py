"""Laws of the communicator: ranks in real processes get what naive sums and concatenations of their tensors give.

Two ranks, and four where there are devices for them: what forgets a rank, or knows only one neighbour, is right with two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from vllm.platforms.capabilities import Feature
from vllm.testing.bench import Bench
from vllm.testing.law import law
from vllm.testing.ranks import Case, Layout, collective, many_reduces, send_around, tensor_of

FEW, MORE = 2, 4
SHAPES = ((2,), (4, 6), (1, 2, 8), (8, 64), (2, 33, 4))


def _cases(bench: Bench) -> Iterator[Case]:
    for shape in SHAPES:
        yield Case(shape=shape, dtype=bench.dtype_name)
    for layout in (Layout.TRANSPOSED, Layout.SLICED):
        yield Case(shape=(4, 6), dtype=bench.dtype_name, layout=layout)
        yield Case(shape=(3, 4, 8), dtype=bench.dtype_name, layout=layout)
    yield Case(shape=(4, 6), dtype="int64")


def _tensors(case: Case, ranks: int) -> list[torch.Tensor]:
    return [tensor_of(rank, case) for rank in range(ranks)]


def _compare(bench: Bench, what: str, found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> None:
    for rank, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        bench.equal(f"{what} on rank {rank}: dtype", mine.dtype, theirs.dtype)
        bench.close(f"{what} on rank {rank}", mine, theirs, 0.0)


def _check(bench: Bench, name: str, case: Case, expected: Sequence[torch.Tensor], **arguments: Any) -> None:
    """One collective on as many ranks as there are results to expect."""
    said = "".join(f", {key} {value}" for key, value in arguments.items())
    found = bench.workplace.on_ranks(len(expected), collective, name, case, **arguments)
    _compare(bench, f"{name} of {case}{said}", found, expected)


@law(Feature.TENSOR_PARALLEL, quick=False, devices=FEW)
def all_reduce(bench: Bench) -> None:
    """all_reduce gives every rank the sum of all, whatever the strides."""
    for case in _cases(bench):
        _check(bench, "all_reduce", case, [_total(case, FEW)] * FEW)


@law(Feature.TENSOR_PARALLEL, quick=False, devices=FEW)
def all_gather(bench: Bench) -> None:
    """all_gather concatenates along any dimension, in rank order, whatever the strides."""
    for case in _cases(bench):
        for dim in (*range(len(case.shape)), -1):
            _check(bench, "all_gather", case, [torch.cat(_tensors(case, FEW), dim)] * FEW, dim=dim)


@law(Feature.TENSOR_PARALLEL, quick=False, devices=FEW)
def reduce_scatter(bench: Bench) -> None:
    """reduce_scatter gives each rank its share of the sum along any dimension."""
    for case in _cases(bench):
        for dim in (dim for dim, size in enumerate(case.shape) if size % FEW == 0):
            _check(bench, "reduce_scatter", case, _total(case, FEW).chunk(FEW, dim), dim=dim)


@law(Feature.TENSOR_PARALLEL, quick=False, devices=FEW)
def broadcast(bench: Bench) -> None:
    """broadcast gives every rank the tensor of the one that is named."""
    for case in _cases(bench):
        for src in range(FEW):
            _check(bench, "broadcast", case, [tensor_of(src, case)] * FEW, src=src)


@law(Feature.TENSOR_PARALLEL, quick=False, devices=FEW)
def send_and_recv(bench: Bench) -> None:
    """What one rank sends another receives, unchanged, both ways; a barrier lets both go."""
    for case in _cases(bench):
        found = bench.workplace.on_ranks(FEW, send_around, case)
        _compare(bench, f"send and recv of {case}", found, [tensor_of(0, case)] * FEW)


@law(Feature.TENSOR_PARALLEL, quick=False, devices=FEW)
def collectives_in_a_row(bench: Bench) -> None:
    """Each collective sees the whole result of the one before it, with no wait on the host between them."""
    case = Case(shape=(16, 64), dtype=bench.dtype_name)
    found = bench.workplace.on_ranks(FEW, many_reduces, case, 50)
    _compare(bench, "50 averages in a row", found, [_total(case, FEW) * 0.5] * FEW)


@law(Feature.TENSOR_PARALLEL, quick=False, devices=MORE)
def four_ranks(bench: Bench) -> None:
    """Every collective is right among four ranks, too."""
    for case in (Case(shape=(8, 12), dtype=bench.dtype_name, layout=layout) for layout in Layout):
        tensors, total = _tensors(case, MORE), _total(case, MORE)
        _check(bench, "all_reduce", case, [total] * MORE)
        for dim in (0, 1):
            _check(bench, "all_gather", case, [torch.cat(tensors, dim)] * MORE, dim=dim)
            _check(bench, "reduce_scatter", case, total.chunk(MORE, dim), dim=dim)
        for src in range(MORE):
            _check(bench, "broadcast", case, [tensors[src]] * MORE, src=src)
        found = bench.workplace.on_ranks(MORE, send_around, case)
        _compare(bench, f"{case} sent around", found, [tensors[0]] * MORE)


def _total(case: Case, ranks: int) -> torch.Tensor:
    return torch.stack(_tensors(case, ranks)).sum(0)
