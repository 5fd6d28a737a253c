"""Owns the backend `checked`: what torch.compile calls for each graph. It is inspected, counted, and then run as traced, on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch._dynamo.exc import BackendCompilerFailed, Unsupported, UserError
from torch.fx.experimental.symbolic_shapes import GuardOnDataDependentSymNode

from vllm.errors import WorkerError
from vllm_spyre.checked.graph import described, innermost_line
from vllm_spyre.checked.inspection import inspect_graph
from vllm_spyre.checked.report import Tally
from vllm_spyre.checked.rules import RuleBook, RuleBrokenError, rule_book
from vllm_spyre.programs import ShapeNotCompiledError

if TYPE_CHECKING:
    from torch.fx import GraphModule

__all__ = ["CheckedCompiler"]


_NO_GRAPH = (Unsupported, UserError, GuardOnDataDependentSymNode)
"""What torch says of code that does not go into one graph."""


class CheckedCompiler:
    """Refuses what the card refuses. One per engine: what is compiled twice is counted within it."""

    __name__ = "checked"

    def __init__(self, book: RuleBook | None = None) -> None:
        self.book = book or rule_book()
        self.tally = Tally(self.book)
        self._serving = False
        self._compiled: set[tuple[str, ...]] = set()

    def __call__(self, traced: GraphModule, inputs: Sequence[Any]) -> Callable[..., Any]:
        """What torch.compile calls with each new graph."""
        try:
            self._check_first(inputs)
            self.tally.add_graph(inspect_graph(traced, inputs, self.book))
        except RuleBrokenError as broken:
            self.tally.broken[broken.rule.id] += 1
            raise
        self._compiled.add(_signature(inputs))
        run: Callable[..., Any] = traced.forward
        return run

    def after_warm_up(self) -> None:
        """From now on any compilation breaks a rule."""
        self._serving = True
        self.tally.after_warm_up()

    def explain(self, made: WorkerError, shape: str, found: Exception | None) -> WorkerError:
        """The rule behind an error that a step of this shape met; the error itself where no rule is behind it."""
        if isinstance(found, BackendCompilerFailed) and isinstance(found.inner_exception, RuleBrokenError):
            return found.inner_exception.at(shape)
        if isinstance(made, ShapeNotCompiledError):
            return self._broken("no-compilation-while-serving", made.what, shape)
        if isinstance(found, _NO_GRAPH):
            return self._broken(
                "whole-graph", f"tracing broke off{innermost_line(str(found))} ({_first_line(found)})", shape
            )
        return made

    def _check_first(self, inputs: Sequence[Any]) -> None:
        """Before the graph is looked at."""
        if self._serving:
            raise self.book.broken("no-compilation-while-serving", f"torch compiles for {_shapes(inputs)}")
        if _signature(inputs) in self._compiled:
            raise self.book.broken("one-compilation-per-shape", f"torch compiles again for {_shapes(inputs)}")

    def _broken(self, rule_id: str, found: str, shape: str) -> RuleBrokenError:
        self.tally.broken[rule_id] += 1
        return self.book.broken(rule_id, found).at(shape)


def _signature(inputs: Sequence[Any]) -> tuple[str, ...]:
    return tuple(described(each) if isinstance(each, torch.Tensor) else str(each) for each in inputs)


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().splitlines()[0]}"


def _shapes(inputs: Sequence[Any]) -> str:
    """The first few; the rest are weights."""
    shapes = _signature(inputs)
    return ", ".join(shapes[:4]) + (f" and {len(shapes) - 4} more" if len(shapes) > 4 else "")
