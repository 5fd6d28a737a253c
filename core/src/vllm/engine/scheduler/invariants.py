"""Owns the laws that hold between any two calls of the scheduler. Slow on purpose: everything is counted anew."""

from __future__ import annotations

from vllm.engine.kv_cache.invariants import check_kv_cache
from vllm.engine.scheduler.state import SchedulerState

__all__ = ["check_scheduler"]


def check_scheduler(state: SchedulerState) -> None:
    """Raise AssertionError, with what disagrees."""
    _check_places(state)
    _check_flags(state)
    for slot in state.slot_of.values():
        _check_counts(state, slot)
    held = {slot: state.slots.token_ids(slot) for slot in _held(state)}
    check_kv_cache(state.kv, held)


def _held(state: SchedulerState) -> list[int]:
    return [*state.slot_of.values(), *state.leaving]


def _check_places(state: SchedulerState) -> None:
    """Every slot is in exactly one place, and every live request in exactly one."""
    free, running, held = state.slots.free_slots(), [*state.prefilling, *state.decoding_N.tolist()], _held(state)
    assert sorted(free + held) == list(range(state.slots.num_slots)), f"free {free} and held {held} are not all slots"
    assert sorted(running) == sorted(state.slot_of.values()), f"running {running}, by id {state.slot_of}"
    for request_id, slot in state.slot_of.items():
        assert state.slots.request(slot).message.request_id == request_id == state.slots.request_id_S[slot]
        assert request_id not in state.waiting, f"{request_id} waits and runs"
    for slot in free:
        assert state.slots.request_of[slot] is None, f"free slot {slot} has a request"
    assert len(state.slot_of) <= state.limits.max_seqs
    assert not state.leaving or state.inflight, f"slots {state.leaving} wait for no step"


def _check_flags(state: SchedulerState) -> None:
    running, slots = list(state.slot_of.values()), state.slots
    counted = [int(flags[running].sum()) for flags in (slots.grammar_S, slots.inspected_S, slots.gathers_logprobs_S)]
    assert counted == [state.num_grammar, state.num_inspected, state.num_gathering], f"flags {counted}"


def _check_counts(state: SchedulerState, slot: int) -> None:
    slots, request = state.slots, state.slots.request(slot)
    tokens, computed, pending = (
        int(array[slot]) for array in (slots.num_tokens_S, slots.num_computed_S, slots.num_pending_S)
    )
    name = f"{request.message.request_id} in slot {slot}"
    assert slots.num_prompt_S[slot] == request.num_prompt_tokens <= tokens, f"{name}: tokens are missing"
    assert tokens + pending <= slots.max_total_S[slot], f"{name}: past its length"
    assert computed <= state.kv.capacity_S[slot], f"{name}: {computed} tokens computed into too few blocks"
    assert computed <= tokens + pending, f"{name}: computed {computed} of {tokens} + {pending}"
    if not state.inflight:
        assert pending == 0, f"{name}: waits for tokens of no step"
        assert computed < tokens, f"{name}: nothing left to compute"
        is_prefilling = computed < slots.prefill_end_S[slot] and slot in state.prefilling
        assert is_prefilling or slot not in state.prefilling, f"{name}: prefills without a prompt to compute"
    assert (slots.token_ids(slot)[: request.num_prompt_tokens] == request.message.prompt_token_ids).all()
