"""Every rule of the card has a planted violation that it catches, with its own words; what breaks none is let through and counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from vllm.worker.step_shapes import StepShape
from vllm_spyre.backends import Backend
from vllm_spyre.checked.compiler import CheckedCompiler
from vllm_spyre.checked.rules import RuleBook, RuleBrokenError, rule_book
from vllm_spyre.programs import Programs

FOUR = StepShape(4, 4, 64)
Step = Callable[["Model", torch.Tensor, list[torch.Tensor]], torch.Tensor]


class Model(torch.nn.Module):
    """In place of a language model: one step, as a test writes it."""

    def __init__(self, step: Step) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(8), requires_grad=False)
        self.run = step

    def forward(self, ids: torch.Tensor, positions: torch.Tensor, kv_caches: Any, metadata: Any) -> torch.Tensor:
        return self.run(self, ids, kv_caches)


def programs(step: Step, compiler: CheckedCompiler) -> Programs:
    return Programs(Model(step), Backend(name="checked", compiler=compiler, explain=compiler.explain))


def compile_step(step: Step, book: RuleBook | None = None, *, ids: torch.Tensor | None = None) -> CheckedCompiler:
    compiler = CheckedCompiler(book)
    programs(step, compiler).compile_step(FOUR, *arguments(ids))
    return compiler


def arguments(ids: torch.Tensor | None = None) -> tuple[Any, ...]:
    return torch.arange(4) if ids is None else ids, torch.arange(4), [torch.zeros(8, 2)], None


def harmless(model: Model, ids: torch.Tensor, kv_caches: list[torch.Tensor]) -> torch.Tensor:
    """Stores into the cache, and looks up."""
    kv_caches[0].index_copy_(0, ids, torch.ones(4, 2))
    return model.weight.index_select(0, ids) * 2


def dynamic_shape() -> None:
    ids = torch.arange(4)
    torch._dynamo.mark_dynamic(ids, 0)
    compile_step(lambda model, ids, kv_caches: ids + 1, ids=ids)


def compiled_twice() -> None:
    made = programs(harmless, CheckedCompiler())
    made.compile_step(FOUR, *arguments())
    made.compile_step(FOUR, *arguments())


def shape_nobody_compiled() -> None:
    made = programs(harmless, CheckedCompiler())
    made.compile_step(FOUR, *arguments())
    made.step(StepShape(2, 2, 64), lambda: ["a", "b"], *arguments())


def value_in_python(model: Model, ids: torch.Tensor, kv_caches: list[torch.Tensor]) -> torch.Tensor:
    return model.weight if ids.sum().item() else ids


def unknown_operator(model: Model, ids: torch.Tensor, kv_caches: list[torch.Tensor]) -> torch.Tensor:
    return torch.sort(model.weight)[0]


def float64(model: Model, ids: torch.Tensor, kv_caches: list[torch.Tensor]) -> torch.Tensor:
    return (model.weight.double() * 2).float()


def arithmetic_with_tokens(model: Model, ids: torch.Tensor, kv_caches: list[torch.Tensor]) -> torch.Tensor:
    return ids * ids


def weight_that_changes(model: Model, ids: torch.Tensor, kv_caches: list[torch.Tensor]) -> torch.Tensor:
    return model.weight.add_(1) * 2


def small_card() -> None:
    compile_step(harmless, replace(rule_book(), memory_bytes=100))


PLANTED: dict[str, tuple[Callable[[], Any], str]] = {
    "static-shapes": (dynamic_shape, r"the argument input_ids_T has the dynamic shape int64 \[s\d+\]"),
    "one-compilation-per-shape": (compiled_twice, r"torch compiles again for .*int64 \[4\]"),
    "no-compilation-while-serving": (shape_nobody_compiled, "a decode of 2 rows .* for requests a, b: compiled are decode of 4"),
    "whole-graph": (lambda: compile_step(value_in_python),  r"tracing broke off, at test_checked_rules.py:\d+: return model.weight if ids"),
    "known-operator": (
        lambda: compile_step(unknown_operator),
        r"aten.sort → float32 \[8\], int64 \[8\] is on neither list, at test_checked_rules.py:\d+: return torch.sort",
    ),
    "known-dtype": (
        lambda: compile_step(float64),
        r"aten._to_copy → float64 \[8\] has the dtype float64, at test_checked_rules.py:\d+: return \(model.weight.double",
    ),
    "integers-are-indices": (lambda: compile_step(arithmetic_with_tokens), r"aten.mul → int64 \[4\] computes with integers, at "),
    "only-caches-change": (lambda: compile_step(weight_that_changes), r"its argument model\S*weight.*, float32 \[8\], in place"),
    "card-memory": (small_card, r"the step needs 0.00 GiB, .* the card has 0.00 GiB"),
}  # fmt: skip
"""Rule → (what breaks it, what must be said of it)."""


@pytest.fixture(autouse=True)
def in_inference_mode() -> Iterator[None]:
    """As steps run."""
    with torch.inference_mode():
        yield


def test_every_rule_has_its_planted_violation() -> None:
    assert set(PLANTED) == set(rule_book().rules)


@pytest.mark.parametrize("rule_id", rule_book().rules)
def test_a_planted_violation_is_caught(rule_id: str) -> None:
    plant, lesson = PLANTED[rule_id]
    with pytest.raises(RuleBrokenError, match=lesson) as caught:
        plant()
    rule, said = rule_book().rules[rule_id], str(caught.value)
    assert caught.value.rule.id == rule_id
    for part in (f"Rule {rule_id} is broken (in decode of ", rule.sentence, rule.remedy, rule.source["url"]):
        assert part in said
    assert ("a guess" in said) == rule.guess


def test_a_compilation_while_requests_wait_is_refused_even_if_torch_asks_for_it() -> None:
    compiler = CheckedCompiler()
    compiled = torch.compile(lambda x: x + 1, backend=compiler, fullgraph=True, dynamic=False)
    compiled(torch.ones(2))
    compiler.after_warm_up()
    assert compiled(torch.ones(2)).tolist() == [2, 2]
    with pytest.raises(Exception, match=r"no-compilation-while-serving is broken: torch compiles for float32 \[3\]"):
        compiled(torch.ones(3))
    assert compiler.tally.as_json()["violations"]["no-compilation-while-serving"] == 1
    assert compiler.tally.as_json()["compilations"] == {"warm_up": 1, "serving": 0}


def test_what_breaks_no_rule_runs_as_written_and_is_counted() -> None:
    """Going in: 4 ids of 4 bytes, a cache of 16 values of 2, a weight of 8."""
    compiler = CheckedCompiler()
    cache, model = torch.zeros(8, 2), programs(harmless, compiler)
    found = model.compile_step(FOUR, torch.arange(4), torch.arange(4), [cache], None)
    assert found.tolist() == [2, 2, 2, 2]
    assert cache.sum() == 8
    (facts,) = compiler.tally.graphs
    assert (
        facts.operators["aten.index_copy"] == facts.operators["aten.index_select"] == facts.operators["aten.mul"] == 1
    )
    assert facts.input_bytes == 16 + 32 + 16


def test_memory_in_between_is_freed_after_its_last_use_and_views_take_none() -> None:
    """Eight floats are 16 bytes on the card. Doubled, one more and their product live at once; then the product and its square."""

    def step(model: Model, ids: torch.Tensor, kv_caches: list[torch.Tensor]) -> torch.Tensor:
        doubled = model.weight * 2
        product = (doubled.view(2, 4) + 1).flatten() * doubled
        return product * product

    (facts,) = compile_step(step).tally.graphs
    assert facts.intermediate_bytes == 3 * 16


def test_the_data_file_is_whole_and_the_readme_says_the_same() -> None:
    book, readme = rule_book(), (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    for rule in book.rules.values():
        (row,) = (line for line in readme.splitlines() if line.startswith(f"| `{rule.id}` |"))
        assert row.endswith("| a guess |") == rule.guess
        assert rule.sentence.endswith(".")
        assert rule.source["url"].startswith("https://")
        assert rule.source["title"]
    assert set(book.guessed) == {name for name, origin in book.operators.items() if origin == "guess"}
    assert book.integer_operators <= set(book.operators)
