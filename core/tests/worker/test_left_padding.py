"""Steps on a platform whose shapes are fixed and padded on the left, by hand. Blocks hold 4 tokens."""

from __future__ import annotations

import random

import numpy as np
import pytest

from core.tests.worker.test_step_inputs import BLOCK_SIZE, Row, build, random_rows
from vllm.attention.backends.abstract import AttentionBatch
from vllm.platforms import SchedulingConstraints
from vllm.worker.step_inputs import InputBuilder, StepRows, order_rows
from vllm.worker.step_shapes import StepShape, dummy_rows, step_shapes

FIXED = SchedulingConstraints(
    decode_batch_buckets=(1, 2, 4, 8),
    token_buckets=(8,),
    prefill_chunk_tokens=8,
    context_buckets=(4, 12, 20),
    padding_side="left",
    max_batch_context_tokens=48,
)


def geometry(rows: list[Row]) -> tuple[list[int], list[int], AttentionBatch]:
    """(ids, positions, attention batch) of a step of these rows."""
    builder, plan = build(rows, FIXED)
    ordered = builder.lay_out(order_rows(plan))
    slots_T, position_T = builder.tokens(ordered)
    num_padded = builder.padded_tokens(ordered)
    batch = builder.attention_batch(ordered, slots_T, position_T, num_padded)
    ids = builder.input_ids(ordered, slots_T, position_T, num_padded)
    return ids.tolist(), builder.positions(ordered, position_T, num_padded).tolist(), batch


def test_a_chunk_ends_in_the_last_block_of_the_step() -> None:
    """Positions 4 … 6 of 7 tokens: one block of the chunk's two is padding, and the last place of the other."""
    row = Row(slot=1, tokens=[10, 11, 12, 13, 14, 15, 16], num_sampled=0, computed=4, count=3, blocks=[5, 6, 7, 8, 9])
    ids, positions, batch = geometry([row])
    assert ids == [0, 0, 0, 0, 14, 15, 16, 0]
    assert positions == [0, 0, 0, 0, 4, 5, 6, 0]
    assert batch.query_start_N1.tolist() == [4, 7]
    assert batch.slot_mapping_T.tolist() == [0, 1, 2, 3, 24, 25, 26, 0]
    assert batch.block_table_NB.tolist() == [[0, 5, 6]]  # 7 tokens lie in the bucket of 12
    assert batch.left_padding_N is not None
    assert batch.left_padding_N.tolist() == [1]


def test_decodes_end_in_the_last_column() -> None:
    """Contexts of 3 and 9 tokens, in the bucket of 12; two rows need none, a third would be padded to four."""
    rows = [
        Row(slot=slot, tokens=list(range(length)), num_sampled=1, computed=length - 1, count=1, blocks=blocks)
        for slot, length, blocks in (
            (4, 3, [11, 12, 13, 14, 15]),
            (2, 9, [21, 22, 23, 24, 25]),
            (0, 4, [31, 32, 33, 34, 35]),
        )
    ]
    _, positions, batch = geometry(rows)
    assert positions == [2, 8, 3, 0]
    assert batch.block_table_NB.tolist() == [[0, 0, 11], [21, 22, 23], [0, 0, 31], [0, 0, 0]]
    assert batch.left_padding_N is not None
    assert batch.left_padding_N.tolist() == [2, 0, 2, 2]
    assert batch.seq_lens_N.tolist() == [3, 9, 4, 1]


@pytest.mark.parametrize("seed", range(6))
def test_every_token_is_found_where_it_was_stored(seed: int) -> None:
    """The place of a token in the padded context names the block and offset that it is written to."""
    rows = random_rows(random.Random(seed), decode_only=True)
    _, _, batch = geometry(rows)
    assert batch.left_padding_N is not None
    for n, row in enumerate(rows):
        column, offset = divmod(row.computed, BLOCK_SIZE)
        block = batch.block_table_NB[n, column + batch.left_padding_N[n]]
        assert batch.slot_mapping_T[n] == block * BLOCK_SIZE + offset
        assert column + batch.left_padding_N[n] == batch.block_table_NB.shape[1] - 1


def test_the_shapes_by_hand() -> None:
    """4 × 12 is the whole budget, 4 × 20 and 8 × 12 too much. A chunk of 8 needs the context of 12."""
    shapes = step_shapes(FIXED, max_num_seqs=5, max_model_len=18, block_size=BLOCK_SIZE)
    assert shapes == (
        *(StepShape(1, 8, 12), StepShape(1, 8, 20)),
        *(StepShape(1, 1, 4), StepShape(2, 2, 4), StepShape(4, 4, 4), StepShape(8, 8, 4)),
        *(StepShape(1, 1, 12), StepShape(2, 2, 12), StepShape(4, 4, 12)),
        *(StepShape(1, 1, 20), StepShape(2, 2, 20)),
    )


def test_open_sizes_have_no_list() -> None:
    assert step_shapes(SchedulingConstraints(), max_num_seqs=5, max_model_len=18, block_size=BLOCK_SIZE) == ()


@pytest.mark.parametrize("max_model_len", [9, 13, 17, 20])
def test_a_dummy_step_has_the_shape_and_stays_in_the_null_block(max_model_len: int) -> None:
    for shape in step_shapes(FIXED, max_num_seqs=8, max_model_len=max_model_len, block_size=BLOCK_SIZE):
        builder, _ = build([Row(1, [1, 2], 0, 0, 2, [9, 9, 9, 9, 9])], FIXED)
        builder._batch.block_table_SB[:] = 0
        rows = builder.lay_out(dummy_rows(shape, max_model_len=max_model_len, block_size=BLOCK_SIZE))
        assert shape_of(builder, rows) == shape
        assert int((rows.first_position_N + rows.count_N).max()) <= max_model_len


def shape_of(builder: InputBuilder, rows: StepRows) -> StepShape:
    slots_T, position_T = builder.tokens(rows)
    num_padded = builder.padded_tokens(rows)
    batch = builder.attention_batch(rows, slots_T, position_T, num_padded)
    assert set(np.asarray(batch.slot_mapping_T).tolist()) <= set(range(BLOCK_SIZE))
    return StepShape(len(batch.seq_lens_N), num_padded, batch.block_table_NB.shape[1] * BLOCK_SIZE)
