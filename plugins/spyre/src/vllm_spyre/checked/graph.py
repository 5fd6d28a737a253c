"""Owns what is read off a compiled graph: its operators, their results, the line of the model they come from, the bytes they need."""

from __future__ import annotations

import re
from collections.abc import Iterator

import torch
from torch.fx import Graph, Node

__all__ = [
    "card_bytes",
    "described",
    "innermost_line",
    "input_name",
    "line_of",
    "operator_name",
    "peak_bytes",
    "results",
]


def operator_name(node: Node) -> str | None:
    """Such as aten.add, without its overload; None for what computes nothing (inputs, outputs, picking from a tuple)."""
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return None
    return f"{node.target.namespace}.{node.target._opname}"


def results(node: Node) -> Iterator[torch.Tensor]:
    """The tensors that a node gives, without data. Scalars are not among them."""
    value = node.meta.get("val", node.meta.get("example_value"))
    values = value if isinstance(value, (list, tuple)) else [value]
    return (each for each in values if isinstance(each, torch.Tensor))


def described(tensor: torch.Tensor) -> str:
    """Such as float32 [2, 64]."""
    return f"{str(tensor.dtype).removeprefix('torch.')} [{', '.join(map(str, tensor.shape))}]"


def input_name(node: Node) -> str:
    """What the traced function calls it: L['kv_caches'][0][1] → kv_caches[0][1]."""
    argument = node.meta.get("grapharg")
    source = getattr(argument, "source", None)
    name = source.name if source is not None else node.name
    return re.sub(r"^L\['(\w+)'\]", r"\1", name() if callable(name) else str(name))


def line_of(node: Node) -> str:
    """`, at file.py:12: text`, of the model's line that a node comes from; empty where tracing has not kept it."""
    return innermost_line(node.meta.get("stack_trace") or "")


def innermost_line(trace: str) -> str:
    """The same, of a trace as text."""
    frames = re.findall(r'File "([^"]+)", line (\d+), in \w+\n\s*(.*)', trace)
    if not frames:
        return ""
    path, number, text = frames[-1]
    return f", at {path.rsplit('/', 1)[-1]}:{number}: {text.strip()}"


def card_bytes(tensor: torch.Tensor) -> int:
    """On the card, where what is computed in float32 or bfloat16 here has 16 bits, and integers have at most 32."""
    most = 2 if tensor.is_floating_point() else 4
    return int(tensor.numel()) * min(tensor.element_size(), most)


def peak_bytes(graph: Graph) -> int:
    """Of the intermediate values that are alive at once, when each is freed after its last use. Views need nothing of their own."""
    owner = _owners(graph)
    last_use = {}
    for step, node in enumerate(graph.nodes):
        for used in (node, *node.all_input_nodes):
            last_use[owner[used]] = step
    freed: dict[int, int] = {}
    alive = peak = 0
    for step, node in enumerate(graph.nodes):
        if owner[node] is node and operator_name(node) is not None:
            size = sum(map(card_bytes, results(node)))
            alive += size
            freed[last_use[node]] = freed.get(last_use[node], 0) + size
        peak = max(peak, alive)
        alive -= freed.get(step, 0)
    return peak


def _owners(graph: Graph) -> dict[Node, Node]:
    """Node → the node whose memory its result lies in."""
    owner: dict[Node, Node] = {}
    for node in graph.nodes:
        lends = node.all_input_nodes and (operator_name(node) is None or node.target.is_view)
        owner[node] = owner[node.all_input_nodes[0]] if lends and node.op == "call_function" else node
    return owner
