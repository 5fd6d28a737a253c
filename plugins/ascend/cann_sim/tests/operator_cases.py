"""Owns the table of torch operations that the simulator must compute as torch's CPU does: names, and the inputs each is tried on.

Inputs come in several layouts, since a real kernel gets strides, too: contiguous, transposed, every second element, empty, one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from on_npu import torch

__all__ = ["CASES", "Case"]

Tensor = torch.Tensor


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    """One call: `function(*inputs)`."""

    name: str
    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    tolerance: float = 0.0


LAYOUTS = ("contiguous", "transposed", "strided", "empty", "scalar")
FLOATS = (torch.float32, torch.bfloat16, torch.float16)
INTEGERS = (torch.int64, torch.int32)

UNARY = [
    "abs",
    "ceil",
    "cos",
    "erf",
    "exp",
    "expm1",
    "floor",
    "isfinite",
    "log",
    "log2",
    "log1p",
    "logical_not",
    "neg",
    "reciprocal",
    "relu",
    "round",
    "rsqrt",
    "sigmoid",
    "sign",
    "sin",
    "sqrt",
    "tanh",
    "trunc",
]
UNARY_INTEGER = ["abs", "bitwise_not", "logical_not", "neg", "sign"]
BINARY = [
    "add",
    "sub",
    "mul",
    "div",
    "maximum",
    "minimum",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "logical_and",
    "logical_or",
    "logical_xor",
    "remainder",
    "fmod",
    "floor_divide",
]
BINARY_INTEGER = [
    "add",
    "sub",
    "mul",
    "bitwise_and",
    "bitwise_or",
    "bitwise_xor",
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "maximum",
    "minimum",
    "floor_divide",
    "remainder",
]
WITH_NUMBER = ["add", "sub", "mul", "div", "eq", "ne", "lt", "le", "gt", "ge", "remainder", "floor_divide", "pow"]
UNARY_IN_PLACE = ["acos", "asin", "atan", "cosh", "sinh", "tan", "erfc", "exp2", "frac", "log10", "zero"]
REDUCTIONS = ["sum", "mean", "amax", "amin"]
WITH_INDICES = ["max", "min"]


def values(layout: str, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Numbers away from the places where operations are undefined, in one layout."""
    generator = torch.Generator().manual_seed(seed)
    shape = {"empty": (0, 4), "scalar": (), "strided": (6, 10)}.get(layout, (4, 6))
    if dtype.is_floating_point:
        plain = (torch.rand(shape, generator=generator) * 2 + 0.25).to(dtype)
    else:
        plain = torch.randint(1, 50, shape, generator=generator, dtype=dtype)
    return plain.t() if layout == "transposed" else plain[::2, 1::2] if layout == "strided" else plain


def _call(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = getattr(torch, name)
    return function


def _method(name: str) -> Callable[..., Any]:
    return lambda x, *rest: getattr(x, name)(*rest)


def _elementwise() -> Iterator[Case]:
    for layout in LAYOUTS:
        for dtype in FLOATS:
            x, y = values(layout, dtype), values(layout, dtype, seed=1)
            label = f"{layout}-{str(dtype)[6:]}"
            for name in UNARY:
                yield Case(name=f"{name}-{label}", function=_call(name), inputs=(x,))
            for name in BINARY:
                yield Case(name=f"{name}-{label}", function=_call(name), inputs=(x, y))
            for name in WITH_NUMBER:
                yield Case(name=f"{name}-number-{label}", function=_call(name), inputs=(x, 1.5))
        for dtype in INTEGERS:
            x, y = values(layout, dtype), values(layout, dtype, seed=1)
            label = f"{layout}-{str(dtype)[6:]}"
            for name in UNARY_INTEGER:
                yield Case(name=f"{name}-{label}", function=_call(name), inputs=(x,))
            for name in BINARY_INTEGER:
                yield Case(name=f"{name}-{label}", function=_call(name), inputs=(x, y))


def _broadcast() -> Iterator[Case]:
    x = values("contiguous", torch.float32)
    others = {
        "row": x[1],
        "column": x[:, 2:3],
        "more dimensions": torch.stack([x, -x]),
        "number": x[0, 0],
        "integers": values("contiguous", torch.int64),
    }
    for name in BINARY:
        for label, other in others.items():
            yield Case(name=f"{name}-by-{label}", function=_call(name), inputs=(x, other))
            yield Case(name=f"{label}-{name}", function=_call(name), inputs=(other, x))


def _in_place() -> Iterator[Case]:
    """Every operation that torch can also do in place."""
    for dtype in (torch.float32, torch.int64):
        x, y = values("contiguous", dtype), values("contiguous", dtype, seed=1)
        floating = dtype.is_floating_point
        for name in [*UNARY, *UNARY_IN_PLACE] if floating else UNARY_INTEGER:
            if hasattr(x, f"{name}_"):
                yield Case(name=f"{name}_-{dtype}", function=_method(f"{name}_"), inputs=(x,))
        for name in [*BINARY, "pow", "atan2"] if floating else BINARY_INTEGER:
            if hasattr(x, f"{name}_"):
                yield Case(name=f"{name}_-{dtype}", function=_method(f"{name}_"), inputs=(x, y))
                if name not in ("atan2", "logical_and", "logical_or", "logical_xor"):
                    yield Case(name=f"{name}_-number-{dtype}", function=_method(f"{name}_"), inputs=(x, 2))


def _reductions() -> Iterator[Case]:
    for layout in ("contiguous", "transposed", "strided"):
        for dtype in FLOATS:
            x = values(layout, dtype)
            tolerance = 1e-2 if dtype != torch.float32 else 1e-6
            for name in REDUCTIONS:
                for dim, keep in ((-1, True), (0, False), ((0, 1), False)):
                    label = f"{name}-{dim}-{keep}-{layout}-{str(dtype)[6:]}"
                    yield Case(name=label, function=_method(name), inputs=(x, dim, keep), tolerance=tolerance)
            for name in WITH_INDICES:
                yield Case(name=f"{name}-{layout}-{str(dtype)[6:]}", function=_method(name), inputs=(x, -1))


CASES = (*_elementwise(), *_broadcast(), *_in_place(), *_reductions())
