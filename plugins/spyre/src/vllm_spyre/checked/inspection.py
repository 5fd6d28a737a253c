"""Owns the look at one graph, rule by rule. Two forms of it: as traced (torch's own calls, inputs by name), and as aten operators without
updates in place, which is what a compiler gets.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch._functorch.aot_autograd import aot_module_simplified
from torch._guards import TracingContext
from torch.fx import Graph, GraphModule, Node

from vllm_spyre.checked.graph import card_bytes, described, input_name, line_of, operator_name, peak_bytes, results
from vllm_spyre.checked.rules import RuleBook

__all__ = ["GraphFacts", "inspect_graph"]


@dataclass(frozen=True, kw_only=True, slots=True)
class GraphFacts:
    """What the report says of a graph that breaks no rule."""

    operators: Counter[str]
    input_bytes: int
    """Weights, caches and what else goes in, counted as on the card."""
    intermediate_bytes: int
    """Peak."""


def inspect_graph(traced: GraphModule, inputs: Sequence[Any], book: RuleBook) -> GraphFacts:
    """Facts of the graph.

    Raises:
        RuleBrokenError: names the rule, the node, and the model's line.
    """
    named_inputs = [node for node in traced.graph.nodes if node.op == "placeholder"]
    _check_sizes(traced.graph, named_inputs, book)
    found: list[GraphFacts] = []

    def look(gm: GraphModule, example_inputs: Sequence[Any]) -> Any:
        del example_inputs
        _check_updates(named_inputs, book)
        _check_operators(gm.graph, book)
        found.append(_facts(gm.graph, named_inputs))
        return gm.forward

    aot_module_simplified(traced, list(inputs), fw_compiler=look, inference_compiler=look)
    _check_memory(found[0], book)
    return found[0]


def _check_sizes(graph: Graph, named_inputs: list[Node], book: RuleBook) -> None:
    for node in graph.nodes:
        for tensor in results(node):
            if any(not isinstance(size, int) for size in tensor.shape):
                what = f"the argument {input_name(node)}" if node in named_inputs else f"{node.name}{line_of(node)}"
                raise book.broken("static-shapes", f"{what} has the dynamic shape {described(tensor)}")


def _check_updates(named_inputs: list[Node], book: RuleBook) -> None:
    """What torch itself found while it took the updates out."""
    metadata = TracingContext.get().fw_metadata
    assert metadata is not None, "called while torch lowers the graph"
    for node, facts in zip(named_inputs, metadata.input_info, strict=False):
        name = input_name(node)
        if facts.mutates_data and not name.startswith(book.updated_inputs):
            shape = ", ".join(map(described, results(node)))
            raise book.broken("only-caches-change", f"the step changes its argument {name}, {shape}, in place")


def _check_operators(graph: Graph, book: RuleBook) -> None:
    for node in graph.nodes:
        _check_dtypes(node, book)
        name = operator_name(node)
        if name is None:
            continue
        if name not in book.operators:
            raise book.broken("known-operator", _of(node, "is on neither list"))
        if name not in book.integer_operators and _computes_integers(node, book):
            raise book.broken("integers-are-indices", _of(node, "computes with integers"))


def _check_dtypes(node: Node, book: RuleBook) -> None:
    for tensor in results(node):
        if _dtype(tensor) not in book.all_dtypes:
            raise book.broken("known-dtype", _of(node, f"has the dtype {_dtype(tensor)}"))


def _check_memory(facts: GraphFacts, book: RuleBook) -> None:
    needed = facts.input_bytes + facts.intermediate_bytes
    if needed > book.memory_bytes:
        found = (
            f"the step needs {needed / 2**30:.2f} GiB, of them {facts.input_bytes / 2**30:.2f} GiB for weights and KV cache "
            f"and {facts.intermediate_bytes / 2**30:.2f} GiB in between; the card has {book.memory_bytes / 2**30:.2f} GiB"
        )
        raise book.broken("card-memory", found)


def _facts(graph: Graph, named_inputs: list[Node]) -> GraphFacts:
    return GraphFacts(
        operators=Counter(name for node in graph.nodes if (name := operator_name(node)) is not None),
        input_bytes=sum(card_bytes(tensor) for node in named_inputs for tensor in results(node)),
        intermediate_bytes=peak_bytes(graph),
    )


def _computes_integers(node: Node, book: RuleBook) -> bool:
    return any(_dtype(tensor) in book.dtypes["index"] for tensor in results(node))


def _of(node: Node, verdict: str) -> str:
    """Operator, shapes, what is wrong, and the model's line."""
    shapes = ", ".join(map(described, results(node)))
    return f"{operator_name(node) or 'the argument ' + node.name} → {shapes} {verdict}{line_of(node)}"


def _dtype(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
