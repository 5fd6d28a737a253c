"""Owns the list of all mutants, and a run of the kit on one: the laws it names, in float32, where laws are sharpest."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from core.tests.mutants import attention_mutants, op_mutants, platform_mutants, shape_mutants, system_mutants
from core.tests.mutants.mutant import PARTS, Mutant, path_of
from vllm.distributed.device_communicators.base_communicator import CommunicatorBase
from vllm.platforms import Platform
from vllm.plugins.dotted import load_subclass
from vllm.testing import run_laws
from vllm.testing.catalogue import select_laws
from vllm.testing.report import Outcome, Status
from vllm.testing.runner import check_law
from vllm.testing.workplace import Workplace

if TYPE_CHECKING:
    from vllm.testing.ranks import MeetingWorker

__all__ = ["MUTANTS", "caught_by", "is_broken", "run"]

MUTANTS: tuple[type[Mutant], ...] = tuple(
    value
    for module in (attention_mutants, op_mutants, platform_mutants, shape_mutants, system_mutants)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, Mutant) and value.__module__ == module.__name__
)


def run(platform_cls: type[Platform], laws: Iterable[str]) -> tuple[Outcome, ...]:
    """Those laws, shortened as `--quick` shortens them; laws that it leaves out are run in full."""
    wanted = tuple(laws)
    quick = all(law.is_quick for law in select_laws(wanted))
    return run_laws(path_of(platform_cls), laws=wanted, dtypes=["float32"], quick=quick).outcomes


def caught_by(mutant: type[Mutant], pair: Workplace) -> dict[str, str]:
    """Which of the mutant's laws fail, and what they say. `pair`: two ranks that mutant communicators share, to start them only once."""
    of_two = {law.full_name for law in select_laws(["collectives"]) if law.devices == 2}
    shared = [law for law in mutant.caught_by if mutant.communicator and law in of_two]
    alone = [law for law in mutant.caught_by if law not in shared]
    outcomes = [*_on_pair(mutant, shared, pair), *(run(mutant, alone) if alone else ())]
    return {outcome.law: outcome.detail for outcome in outcomes if is_broken(outcome)}


def _on_pair(mutant: type[Mutant], laws: list[str], pair: Workplace) -> list[Outcome]:
    if not laws:
        return []
    pair.on_ranks(2, _speak_through, f"{PARTS}{mutant.communicator}")
    return [check_law(law, pair, "float32") for law in select_laws(laws)]


def is_broken(outcome: Outcome) -> bool:
    """Whether it fails a run of the kit."""
    return outcome.status in (Status.FAILED, Status.ERROR)


def _speak_through(worker: MeetingWorker, path: str) -> None:
    """On a rank: put this communicator in the place of the one before it, on the same group."""
    tp, communicator_cls = worker.tp, load_subclass(path, CommunicatorBase, option="the mutant's communicator")
    worker.tp = communicator_cls(rank=tp.rank, world_size=tp.world_size, device=tp.device, group=tp.group)
