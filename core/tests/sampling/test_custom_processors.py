"""What custom logits processors are told about the batch: whoever follows the updates knows the rows."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from vllm.sampling.custom_processors import Occupant, batch_update
from vllm.sampling.logits_processors_interface import AddedRow, BatchUpdate, MoveDirectionality
from vllm.sampling_params import SamplingParams

PARAMS = SamplingParams()


def describe(slot: int, row: int) -> AddedRow:
    return row, PARAMS, [slot], []


def follow(rows: dict[int, Any], update: BatchUpdate | None) -> dict[int, Any]:
    """A processor's bookkeeping by the contract: removed, added, moved."""
    if update is None:
        return rows
    for row in update.removed:
        del rows[row]
    for row, _, prompt, _ in update.added:
        rows[row] = {"slot": prompt[0], "age": 0}
    for a, b, direction in update.moved:
        moving, resident = rows.pop(a), rows.pop(b, None)
        rows[b] = moving
        if direction is MoveDirectionality.SWAP:
            assert resident is not None, "a swap with an empty row"
            rows[a] = resident
        else:
            assert resident is None, "a move onto a request that stays"
    assert sorted(rows) == list(range(update.batch_size))
    return rows


batches = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), max_size=8, unique_by=lambda o: o[0])


@given(st.lists(batches, min_size=1, max_size=6))
@settings(max_examples=200, deadline=None)
def test_following_the_updates_gives_the_rows_and_keeps_the_state_of_those_who_stay(
    history: list[list[Occupant]],
) -> None:
    rows: dict[int, Any] = {}
    ages: dict[Occupant, int] = {}
    known: list[Occupant] = []
    for occupants in history:
        rows = follow(rows, batch_update(known, occupants, describe))
        ages = {occupant: ages.get(occupant, 0) + 1 for occupant in occupants}
        for state in rows.values():
            state["age"] += 1
        assert [rows[row] for row in range(len(occupants))] == [{"slot": o[0], "age": ages[o]} for o in occupants]
        known = occupants


def test_no_change_is_none() -> None:
    assert batch_update([(1, 1), (2, 1)], [(1, 1), (2, 1)], describe) is None


def test_the_same_slot_after_another_arrival_is_another_request() -> None:
    update = batch_update([(1, 1)], [(1, 2)], describe)
    assert update == BatchUpdate(batch_size=1, removed=[0], added=[(0, PARAMS, [1], [])], moved=[])
