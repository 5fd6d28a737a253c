"""Owns what the backend `checked` counts, and the report of it: a table in the log, and JSON where `VLLM_SPYRE_CHECK_REPORT` says."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vllm.worker.step_inputs import StepInputs
    from vllm_spyre.checked.inspection import GraphFacts
    from vllm_spyre.checked.rules import RuleBook

__all__ = ["Tally"]


class Tally:
    """Counts of one engine's rank."""

    def __init__(self, book: RuleBook) -> None:
        self._book = book
        self.graphs: list[GraphFacts] = []
        self.broken: Counter[str] = Counter()
        """By rule."""
        self.steps: Counter[str] = Counter()
        """By shape, after warm-up."""
        self.warm_up_graphs: int | None = None
        """None until warm-up has ended."""
        self.tokens: Counter[str] = Counter()
        """useful, computed; of the context that decode steps read: useful_context, computed_context."""

    def add_graph(self, facts: GraphFacts) -> None:
        """A graph was compiled."""
        self.graphs.append(facts)

    def after_warm_up(self) -> None:
        """What was compiled so far was compiled in time."""
        self.warm_up_graphs = len(self.graphs)

    def add_step(self, inputs: StepInputs) -> None:
        """A step is about to run."""
        shape = inputs.shape
        self.steps[str(shape)] += 1
        self.tokens.update(useful=inputs.num_tokens, computed=shape.tokens)
        if shape.is_decode:
            group = inputs.metadata.groups[0]
            rows_context = (group.end_place_R - group.first_place_R)[: len(inputs.slots_N)]
            self.tokens.update(
                useful_context=int(rows_context.sum()), computed_context=shape.rows * shape.context_tokens
            )

    @property
    def operators(self) -> Counter[str]:
        """Over all graphs."""
        return sum((facts.operators for facts in self.graphs), Counter())

    def as_json(self) -> dict[str, Any]:
        """Everything."""
        before = len(self.graphs) if self.warm_up_graphs is None else self.warm_up_graphs
        return {
            "backend": "checked",
            "compilations": {"warm_up": before, "serving": len(self.graphs) - before},
            "violations": {rule: self.broken[rule] for rule in self._book.rules},
            "guessed_rules": [rule.id for rule in self._book.rules.values() if rule.guess],
            "operators": {
                name: {"count": n, "origin": self._book.operators[name]} for name, n in self.operators.items()
            },
            "memory_bytes": {
                "inputs": max((facts.input_bytes for facts in self.graphs), default=0),
                "intermediate": max((facts.intermediate_bytes for facts in self.graphs), default=0),
                "card": self._book.memory_bytes,
            },
            "steps": dict(self.steps),
            "tokens": {kind: self.tokens[kind] for kind in _KINDS},
        }

    def write(self, path: Path) -> None:
        """JSON; folders are made."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.as_json(), indent=2) + "\n", encoding="utf-8")

    def __str__(self) -> str:
        return "\n".join(f"  {label:<24}{text}" for label, text in self._lines())

    def _lines(self) -> Iterator[tuple[str, str]]:
        facts = self.as_json()
        compilations, memory, tokens = facts["compilations"], facts["memory_bytes"], self.tokens
        yield "compilations", f"{compilations['warm_up']} at warm-up, {compilations['serving']} after it"
        yield "rules broken", _listed(self.broken) or f"none of {len(self._book.rules)}"
        yield "operators", f"{self.operators.total()} of {len(self.operators)} kinds in {len(self.graphs)} graphs"
        for origin, label in (("fallback", "  computed on the host"), ("guess", "  on no public list")):
            names = {name: n for name, n in self.operators.items() if self._book.operators[name] == origin}
            yield label, _listed(names) or "none"
        needed = memory["inputs"] + memory["intermediate"]
        yield "memory", f"{needed / 2**20:.1f} MiB of {memory['card'] / 2**30:.0f} GiB, floats as 16 bits"
        yield "steps", f"{self.steps.total()} of {len(self.steps)} shapes"
        yield "tokens", _share(tokens["useful"], tokens["computed"])
        yield "context of decodes", _share(tokens["useful_context"], tokens["computed_context"])


_KINDS = ("useful", "computed", "useful_context", "computed_context")


def _listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count})" for name, count in sorted(counts.items()) if count)


def _share(useful: int, computed: int) -> str:
    return f"{useful} useful of {computed} computed" + (f" ({useful / computed:.1%})" if computed else "")
