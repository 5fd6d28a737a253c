"""Compiled steps: one compilation per shape, none after warm-up, and words for a shape that nobody compiled."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from vllm.errors import WorkerError
from vllm.worker.step_shapes import StepShape
from vllm_spyre.backends import Backend
from vllm_spyre.programs import Programs, ShapeNotCompiledError

FOUR, TWO = StepShape(4, 4, 64), StepShape(2, 2, 64)


class Counting:
    """A torch.compile backend that counts, and runs the graph as it is."""

    def __init__(self) -> None:
        self.compilations = 0

    def __call__(self, graph: torch.fx.GraphModule, inputs: list[Any]) -> Any:
        self.compilations += 1
        return graph.forward


class Doubling(torch.nn.Module):
    """In place of a language model."""

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, caches: Any, metadata: Any) -> torch.Tensor:
        return torch.stack([ids * 2, positions], dim=1).float()

    def compute_logits(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden + 1


def step_arguments(rows: int) -> tuple[Any, ...]:
    return torch.arange(rows), torch.arange(rows), [], None


@pytest.fixture
def compiler() -> Counting:
    return Counting()


@pytest.fixture
def programs(compiler: Counting) -> Programs:
    made = Programs(Doubling(), Backend(name="counting", compiler=compiler))
    for shape in (FOUR, TWO):
        made.compile_step(shape, *step_arguments(shape.rows))
    made.compile_head(torch.zeros(2, 2))
    return made


def test_each_shape_is_compiled_once(programs: Programs, compiler: Counting) -> None:
    assert compiler.compilations == 3
    for shape in (TWO, FOUR, TWO):
        found = programs.step(shape, lambda: ["a"], *step_arguments(shape.rows))
        assert found[:, 0].tolist() == [2.0 * row for row in range(shape.rows)]
    assert programs.head(torch.zeros(2, 2), lambda: ["a"]).tolist() == [[1, 1], [1, 1]]
    assert compiler.compilations == 3


def test_a_shape_that_nobody_compiled_is_an_error_that_names_it_and_the_requests(programs: Programs) -> None:
    with pytest.raises(ShapeNotCompiledError, match=r"decode of 1 row with 64 tokens of context.*requests a, b"):
        programs.step(StepShape(1, 1, 64), lambda: ["a", "b"], *step_arguments(1))
    with pytest.raises(ShapeNotCompiledError, match=r"output head of 3 rows.*request c"):
        programs.head(torch.zeros(3, 2), lambda: ["c"])


def test_what_would_compile_anew_is_refused(programs: Programs, compiler: Counting) -> None:
    """The shape is known, but the values come in another dtype."""
    ids, *rest = step_arguments(2)
    with pytest.raises(ShapeNotCompiledError, match=r"decode of 2 rows(.|\n)*request a(.|\n)*torch says"):
        programs.step(TWO, lambda: ["a"], ids.to(torch.int32), *rest)
    assert compiler.compilations == 3


def test_a_graph_break_is_refused_at_warm_up(compiler: Counting) -> None:
    class Breaking(Doubling):
        def forward(self, ids: torch.Tensor, positions: torch.Tensor, caches: Any, metadata: Any) -> torch.Tensor:
            return super().forward(ids, positions, caches, metadata) if ids.sum().item() else ids

    programs = Programs(Breaking(), Backend(name="counting", compiler=compiler))
    with pytest.raises(
        WorkerError, match="The backend counting cannot run a decode of 2 rows with 64 tokens of context"
    ):
        programs.compile_step(TWO, *step_arguments(2))
