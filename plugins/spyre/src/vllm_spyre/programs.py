"""Owns the compiled steps: one program per shape, made at warm-up; after it a shape without a program is an error, not a compilation.

Each program is compiled from a function of its own (the same code under another name): torch.compile keeps what it compiled by function,
so a call looks at the guards of one shape instead of all.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from vllm.errors import WorkerError, in_a_sentence
from vllm.worker.step_shapes import StepShape

if TYPE_CHECKING:
    from vllm_spyre.backends import Backend

__all__ = ["Programs", "ShapeNotCompiledError"]


class ShapeNotCompiledError(WorkerError):
    """A step would have to be compiled while requests wait."""


def run_step(model: Any, input_ids_T: Any, positions_T: Any, kv_caches: Any, metadata: Any) -> Any:
    """hidden_TH."""
    return model(input_ids_T, positions_T, kv_caches, metadata)


def run_head(model: Any, hidden_NH: Any) -> Any:
    """logits_NV."""
    return model.compute_logits(hidden_NH)


class Programs:
    """The model's steps by shape, and its output head by number of rows."""

    def __init__(self, model: Any, backend: Backend) -> None:
        self._model = model
        self._backend = backend
        self._steps: dict[StepShape, Callable[..., Any]] = {}
        self._heads: dict[int, Callable[..., Any]] = {}

    def compile_step(self, shape: StepShape, *arguments: Any) -> torch.Tensor:
        """Make the program of a shape by running it once on these arguments.

        Raises:
            WorkerError: the backend refuses it; names the shape.
        """
        self._steps[shape] = self._program(run_step, f"step_{shape.tokens}_tokens_{shape.context_tokens}_context")
        hidden_TH: torch.Tensor = self._first_run(self._steps[shape], str(shape), *arguments)
        return hidden_TH

    def compile_head(self, hidden_NH: torch.Tensor) -> None:
        """Make the output head for so many rows."""
        rows = len(hidden_NH)
        self._heads[rows] = self._program(run_head, f"head_{rows}_rows")
        self._first_run(self._heads[rows], f"output head of {rows} rows", hidden_NH)

    def has_head(self, rows: int) -> bool:
        """Whether the output head is compiled for so many rows."""
        return rows in self._heads

    def step(self, shape: StepShape, request_ids: Callable[[], Sequence[str]], *arguments: Any) -> torch.Tensor:
        """hidden_TH of a step that was compiled before.

        Raises:
            ShapeNotCompiledError: it was not; names the shape and the requests.
        """
        program = self._steps.get(shape)
        if program is None:
            raise self._not_compiled(str(shape), request_ids(), f"compiled are {_listed(self._steps)}")
        hidden_TH: torch.Tensor = self._run(program, str(shape), request_ids, *arguments)
        return hidden_TH

    def head(self, hidden_NH: torch.Tensor, request_ids: Callable[[], Sequence[str]]) -> torch.Tensor:
        """logits_NV of a number of rows that was compiled before."""
        rows = len(hidden_NH)
        shape = f"output head of {rows} rows"
        if rows not in self._heads:
            raise self._not_compiled(shape, request_ids(), f"compiled are {_listed(self._heads)}")
        logits_NV: torch.Tensor = self._run(self._heads[rows], shape, request_ids, hidden_NH)
        return logits_NV

    def _first_run(self, program: Callable[..., Any], shape: str, *arguments: Any) -> Any:
        try:
            return program(self._model, *arguments)
        except Exception as error:
            made = WorkerError(
                f"The backend {self._backend.name} cannot run a {shape}: {in_a_sentence(error)}",
                remedy="the cause above is the compiler's; VLLM_SPYRE_DYNAMO_BACKEND=checked says which rule of the card it breaks",
            )
            raise self._backend.explain(made, shape, error) from error

    def _run(
        self, program: Callable[..., Any], shape: str, request_ids: Callable[[], Sequence[str]], *arguments: Any
    ) -> Any:
        if self._backend.compiler is None:
            return program(self._model, *arguments)
        try:
            with torch.compiler.set_stance("fail_on_recompile"):
                return program(self._model, *arguments)
        except RuntimeError as error:
            if "recompile" not in str(error):
                raise
            raise self._not_compiled(shape, request_ids(), f"torch says: {error}") from error

    def _program(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        if self._backend.compiler is None:
            return function
        code = function.__code__.replace(co_name=name)
        own = types.FunctionType(code, function.__globals__, name)
        compiled: Callable[..., Any] = torch.compile(own, backend=self._backend.compiler, fullgraph=True, dynamic=False)
        return compiled

    def _not_compiled(self, shape: str, request_ids: Sequence[str], why: str) -> WorkerError:
        made = ShapeNotCompiledError(
            f"A step needs a {shape}, which was not compiled at warm-up, for {_named(request_ids)}: {why}",
            cause="the scheduling constraints permit a shape that warm-up does not know: a fault of this plugin",
            remedy="report it with this text; the engine does not compile while requests wait",
        )
        return self._backend.explain(made, shape, None)


def _named(request_ids: Sequence[str]) -> str:
    return f"request{'s' * (len(request_ids) > 1)} {', '.join(request_ids)}"


def _listed(known: Any) -> str:
    return "; ".join(map(str, known)) or "none"
