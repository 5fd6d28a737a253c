"""The kit notices every mutant, by the laws that the mutant names; without the fault the same laws hold."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator

import pytest

from core.tests.mutants.catalogue import MUTANTS, caught_by, is_broken, run
from core.tests.mutants.mutant import Mutant
from vllm.platforms import Platform
from vllm.testing.catalogue import all_laws
from vllm.testing.report import Status
from vllm.testing.workplace import Workplace

LAWS_WITHOUT_A_MUTANT = {"generation.planned_ahead_equals_synchronous"}
"""Planning ahead is the engine's part: a worker sees the same plans in the same order, so that cpu_ref cannot be wrong there alone."""


@pytest.fixture(scope="module")
def pair() -> Iterator[Workplace]:
    with Workplace("vllm_cpu_ref.platform.CpuRefPlatform") as workplace:
        yield workplace


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.__name__ for mutant in MUTANTS])
def test_it_is_caught(mutant: type[Mutant], pair: Workplace, record_property: Callable[[str, object], None]) -> None:
    caught = caught_by(mutant, pair)
    laws = ", ".join(f"`{law}`" for law in caught) or "**nothing: it survives**"
    record_property("mutant", f"| {mutant.__name__} | {inspect.getdoc(mutant)} | {laws} |")
    assert set(caught) == set(mutant.caught_by), f"{inspect.getdoc(mutant)} The kit saw only {caught}"


@pytest.mark.parametrize("sound", dict.fromkeys(mutant.sound for mutant in MUTANTS))
def test_without_the_fault_those_laws_hold(sound: type[Platform]) -> None:
    laws = {law for mutant in MUTANTS if mutant.sound is sound for law in mutant.caught_by}
    outcomes = run(sound, sorted(laws))
    assert [(outcome.law, outcome.detail) for outcome in outcomes if is_broken(outcome)] == []
    unchecked = {outcome.law for outcome in outcomes if outcome.status in (Status.EXCUSED, Status.NOT_TESTABLE)}
    assert unchecked == set(), "what the mutants claim, the sound platform must be able to do"


def test_every_law_catches_a_mutant() -> None:
    caught = {law for mutant in MUTANTS for law in mutant.caught_by}
    assert {law.full_name for law in all_laws()} - caught == LAWS_WITHOUT_A_MUTANT


def test_there_are_as_many_as_promised_and_each_says_its_fault() -> None:
    assert len(MUTANTS) >= 25
    assert all((inspect.getdoc(mutant) or "").endswith(".") for mutant in MUTANTS)
