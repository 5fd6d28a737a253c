"""A step's inputs against a twin that walks row by row; random plans, padding, both ways of getting token ids."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from vllm.messages import NewSlot, StepPlan
from vllm.platforms import SchedulingConstraints
from vllm.sampling_params import SamplingParams
from vllm.worker.kv_cache_spec import NULL_BLOCK
from vllm.worker.persistent_batch import PersistentBatch
from vllm.worker.step_inputs import InputBuilder, order_rows

BLOCK_SIZE = 4
SLOTS = 6


@dataclass
class Row:
    """One request: known tokens, those of them sampled here, tokens computed before the step and in it."""

    slot: int
    tokens: list[int]
    num_sampled: int
    computed: int
    count: int
    blocks: list[int]

    @property
    def samples(self) -> bool:
        return self.computed + self.count == len(self.tokens)


def random_rows(rng: random.Random, decode_only: bool) -> list[Row]:
    rows = []
    blocks = rng.sample(range(1, 100), 90)
    for slot in rng.sample(range(SLOTS), rng.randrange(1, SLOTS + 1)):
        tokens = [rng.randrange(1000) for _ in range(rng.randrange(2, 20))]
        is_decode = decode_only or rng.random() < 0.5
        sampled = rng.randrange(1, len(tokens)) if is_decode else 0
        computed = len(tokens) - 1 if is_decode else rng.randrange(len(tokens))
        count = 1 if is_decode else rng.randrange(1, len(tokens) - computed + 1)
        own, blocks = blocks[:5], blocks[5:]
        rows.append(Row(slot, tokens, sampled, computed, count, own))
    return rows


def build(rows: list[Row], constraints: SchedulingConstraints) -> tuple[InputBuilder, StepPlan]:
    batch = PersistentBatch(SLOTS, 32, BLOCK_SIZE)
    batch.token_ids_SL[:] = 777_777  # stale
    batch.block_table_SB[:] = 888_888
    builder = InputBuilder(batch, constraints, torch.device("cpu"))
    plan = StepPlan(
        step=0,
        slots_N=np.array([r.slot for r in rows], np.int32),
        num_computed_N=np.array([r.computed for r in rows], np.int32),
        num_scheduled_N=np.array([r.count for r in rows], np.int32),
        samples_N=np.array([r.samples for r in rows]),
        total_tokens=sum(r.count for r in rows),
        freed_slots=np.empty(0, np.int32),
        new=tuple(new_slot(r) for r in rows),
        appended_slots_A=np.array([r.slot for r in rows], np.int32),
        appended_index_A=np.full(len(rows), 4, np.int32),
        appended_block_ids_A=np.array([r.blocks[4] for r in rows], np.int32),
    )
    batch.apply(plan)
    for row in rows:  # sampled tokens lie on the device only
        if row.num_sampled:
            builder.keep_last_tokens(np.array([row.slot], np.int32), torch.tensor([row.tokens[-1]]))
    return builder, plan


def new_slot(row: Row) -> NewSlot:
    known = row.tokens[: len(row.tokens) - row.num_sampled]
    return NewSlot(
        slot=row.slot,
        request_id=str(row.slot),
        token_ids=np.array(known, np.int32),
        num_prompt_tokens=len(known),
        num_computed_tokens=0,
        block_ids=np.array(row.blocks[:4], np.int32),
        sampling=SamplingParams(),
        seed=0,
        max_tokens=8,
    )


CONSTRAINTS = {
    "free": SchedulingConstraints(),
    "buckets": SchedulingConstraints(decode_batch_buckets=(2, 8), token_buckets=(16, 200)),
}


@pytest.mark.parametrize("constraints", CONSTRAINTS.values(), ids=CONSTRAINTS.keys())
@pytest.mark.parametrize("decode_only", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_equals_walking_row_by_row(constraints: SchedulingConstraints, decode_only: bool, seed: int) -> None:
    plan_rows = random_rows(random.Random(seed), decode_only)
    builder, plan = build(plan_rows, constraints)
    rows = order_rows(plan)
    slots_T, position_T = builder.tokens(rows)
    num_padded = builder.padded_tokens(rows)
    ids = builder.input_ids(rows, slots_T, position_T, num_padded).tolist()
    positions = builder.positions(rows, position_T, num_padded).tolist()
    batch = builder.attention_batch(rows, slots_T, position_T, num_padded)

    ordered = [r for r in plan_rows if r.count == 1] + [r for r in plan_rows if r.count > 1]
    tokens = [(r, p) for r in ordered for p in range(r.computed, r.computed + r.count)]
    padding = num_padded - len(tokens)
    only_decodes = all(r.count == 1 for r in plan_rows)
    assert num_padded == (constraints.bucket_rows if only_decodes else constraints.bucket_tokens)(len(tokens))
    assert ids == [r.tokens[p] for r, p in tokens] + [0] * padding
    assert positions == [p for _, p in tokens] + [0] * padding
    mapping = batch.slot_mapping_T.tolist()
    assert mapping[: len(tokens)] == [r.blocks[p // BLOCK_SIZE] * BLOCK_SIZE + p % BLOCK_SIZE for r, p in tokens]
    assert {slot // BLOCK_SIZE for slot in mapping[len(tokens) :]} <= {NULL_BLOCK}
    extra_rows = padding if only_decodes else 0
    assert np.diff(batch.query_start_N1).tolist() == [r.count for r in ordered] + [1] * extra_rows
    assert batch.seq_lens_N.tolist() == [r.computed + r.count for r in ordered] + [1] * extra_rows
    assert batch.num_decode_rows == sum(r.count == 1 for r in ordered) + extra_rows
    for row, blocks in zip(ordered, batch.block_table_NB.tolist(), strict=False):
        needed = -(-(row.computed + row.count) // BLOCK_SIZE)
        assert blocks[:needed] == row.blocks[:needed]
    assert rows.samples_N.tolist() == [r.samples for r in ordered]


def test_outputs_are_seen_as_they_grow() -> None:
    row = Row(slot=2, tokens=[5, 6, 7], num_sampled=0, computed=0, count=3, blocks=[1, 2, 3, 4, 5])
    builder, _ = build([row], SchedulingConstraints())
    batch = builder._batch
    view = batch.outputs_of(2)
    assert list(view) == []
    for position, token in ((3, 11), (4, 12)):
        batch.record(np.array([2], np.int32), np.array([position]), np.array([token]))
    assert (len(view), list(view), view[-1], view[:1]) == (2, [11, 12], 12, [11])
