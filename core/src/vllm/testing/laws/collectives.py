"""Laws of the communicator: two ranks in real processes get what naive sums and concatenations of their tensors give."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from vllm.platforms.capabilities import Feature
from vllm.testing.bench import Bench
from vllm.testing.law import law
from vllm.testing.ranks import RANKS, Case, collective, many_reduces, send_and_receive, tensor_of

SHAPES = ((2,), (4, 6), (1, 2, 8), (5, 64), (2, 33, 4))


def _cases(bench: Bench) -> Iterator[Case]:
    for shape in SHAPES:
        yield Case(shape=shape, dtype=bench.dtype_name)
    yield Case(shape=(4, 6), dtype=bench.dtype_name, contiguous=False)


def _tensors(case: Case) -> list[torch.Tensor]:
    return [tensor_of(rank, case) for rank in range(RANKS)]


def _run(bench: Bench, name: str, case: Case, **arguments: Any) -> Sequence[torch.Tensor]:
    return bench.workplace.on_pair(collective, name, case, **arguments)


def _compare(bench: Bench, what: str, found: Sequence[torch.Tensor], expected: Sequence[torch.Tensor]) -> None:
    for rank, (mine, theirs) in enumerate(zip(found, expected, strict=True)):
        bench.equal(f"{what} on rank {rank}: dtype", mine.dtype, theirs.dtype)
        bench.close(f"{what} on rank {rank}", mine, theirs, 0.0)


@law(Feature.TENSOR_PARALLEL, quick=False)
def all_reduce(bench: Bench) -> None:
    """all_reduce gives every rank the sum of all."""
    for case in _cases(bench):
        if case.contiguous:
            total = torch.stack(_tensors(case)).sum(0)
            _compare(bench, f"all_reduce {case.shape}", _run(bench, "all_reduce", case), [total] * RANKS)


@law(Feature.TENSOR_PARALLEL, quick=False)
def all_gather(bench: Bench) -> None:
    """all_gather concatenates along any dimension, in rank order."""
    for case in _cases(bench):
        for dim in (*range(len(case.shape)), -1):
            whole = torch.cat(_tensors(case), dim)
            _compare(
                bench, f"all_gather {case.shape}, dim {dim}", _run(bench, "all_gather", case, dim=dim), [whole] * RANKS
            )


@law(Feature.TENSOR_PARALLEL, quick=False)
def reduce_scatter(bench: Bench) -> None:
    """reduce_scatter gives each rank its share of the sum along any dimension."""
    for case in _cases(bench):
        for dim in (dim for dim, size in enumerate(case.shape) if size % RANKS == 0):
            shares = torch.stack(_tensors(case)).sum(0).chunk(RANKS, dim)
            _compare(
                bench, f"reduce_scatter {case.shape}, dim {dim}", _run(bench, "reduce_scatter", case, dim=dim), shares
            )


@law(Feature.TENSOR_PARALLEL, quick=False)
def broadcast(bench: Bench) -> None:
    """broadcast gives every rank the tensor of the one that is named."""
    for case in _cases(bench):
        for src in range(RANKS):
            wanted = [tensor_of(src, case)] * RANKS
            _compare(bench, f"broadcast {case.shape} from {src}", _run(bench, "broadcast", case, src=src), wanted)


@law(Feature.TENSOR_PARALLEL, quick=False)
def send_and_recv(bench: Bench) -> None:
    """What one rank sends another receives, unchanged, both ways; a barrier lets both go."""
    for case in _cases(bench):
        found = bench.workplace.on_pair(send_and_receive, case)
        _compare(bench, f"send and recv {case.shape}", found, [tensor_of(0, case)] * RANKS)


@law(Feature.TENSOR_PARALLEL, quick=False)
def collectives_in_a_row(bench: Bench) -> None:
    """Each collective sees the whole result of the one before it, with no wait on the host between them."""
    case = Case(shape=(16, 64), dtype=bench.dtype_name)
    average = torch.stack(_tensors(case)).sum(0) * 0.5
    found = bench.workplace.on_pair(many_reduces, case, 50)
    _compare(bench, "50 averages in a row", found, [average] * RANKS)
