"""Laws of the attention backend: every step of every story equals dense fp32 attention on the same rounded inputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from vllm.attention.backends.abstract import AttentionSpec
from vllm.platforms.capabilities import Feature
from vllm.testing.bench import Bench
from vllm.testing.law import law
from vllm.testing.left_padded_story import LeftPaddedStory
from vllm.testing.paged_story import Story, StoryStep

SCALE = 0.2
"""Not 1 / sqrt(head size): a backend must take the layer's."""


def _spec(bench: Bench, **changes: Any) -> AttentionSpec:
    sizes = type(bench.workplace.backend(bench.dtype_name)).supported_head_sizes or (64,)
    return replace(AttentionSpec(num_heads=4, num_kv_heads=2, head_size=sizes[0], scale=SCALE), **changes)


def _block_size(bench: Bench) -> int:
    return bench.workplace.config(dtype=bench.dtype_name).cache_config.block_size


def _story(bench: Bench, spec: AttentionSpec | None = None, **options: Any) -> Story:
    return Story(bench=bench, spec=spec or _spec(bench), block_size=_block_size(bench), **options)


def _ragged(block: int) -> tuple[int, ...]:
    """Lengths around every edge of a block."""
    return (1, block - 1, block, block + 1, 2 * block, 3 * block + 5)


def _tell_mixed(story: Story) -> None:
    """Prefills, decodes, and both in one step."""
    block = story.block_size
    numbers = story.prefill(*_ragged(block))
    story.decode(numbers)
    newcomers = story.add(2)
    story.step(
        StoryStep(
            rows=[(numbers[0], 1), (newcomers[0], block + 3), (numbers[4], 1), (newcomers[1], 2), (numbers[1], block)]
        )
    )
    story.decode([*numbers, *newcomers])


@law()
def one_key_gives_its_value_back(bench: Bench) -> None:
    """The first token of a sequence attends to itself alone: its output is its value, in the dtype in which the cache keeps it."""
    story = _story(bench)
    story.prefill(1, 1, 1)
    for row in story.sequences:
        heads = story.spec.num_heads // story.spec.num_kv_heads
        expected_1HD = row.v_SKD.repeat_interleave(heads, dim=1)
        found_1HD = story.outputs[0][story.sequences.index(row)][None]
        bench.close("value of a single key", found_1HD, expected_1HD, torch.finfo(bench.dtype).eps, relative=True)


@law()
def ragged_rows(bench: Bench) -> None:
    """Rows of different lengths in one step, prefills and decodes mixed, equal dense attention row by row."""
    _tell_mixed(_story(bench))


@law()
def head_layouts(bench: Bench) -> None:
    """Query head h reads key/value head h // (H // K): multi-head, grouped and multi-query, in every head size (two where any will do)."""
    sizes = type(bench.workplace.backend(bench.dtype_name)).supported_head_sizes or (64, 128)
    for heads, kv_heads in ((4, 4), (4, 2), (6, 2), (4, 1), (1, 1)):
        for size in sizes[: 1 if bench.quick else None]:
            story = _story(bench, _spec(bench, num_heads=heads, num_kv_heads=kv_heads, head_size=size))
            story.decode(story.prefill(5, story.block_size + 1))


@law()
def chunk_boundaries(bench: Bench) -> None:
    """A sequence computed in chunks of any size sees, at every edge, all that came before and nothing after."""
    block = _block_size(bench)
    for chunk in (1, block - 1, block, block + 1, 2 * block + 3):
        story = _story(bench)
        (number,), length = story.add(), min(4 * block, 8 * chunk) + 1
        while (left := length - story.sequences[number].length) > 0:
            story.step(StoryStep(rows=[(number, min(chunk, left))]))


@law()
def block_permutations(bench: Bench) -> None:
    """Which blocks hold a context changes nothing."""
    told = []
    for seed in range(3):
        story = _story(bench, blocks_seed=seed)
        _tell_mixed(story)
        told.append(torch.cat(story.outputs))
    for other in told[1:]:
        bench.close("the same story in other blocks", other, told[0], bench.tolerance.attention, relative=True)


@law()
def stale_block_ids(bench: Bench) -> None:
    """Columns of the block table past a row's end hold stale ids, and are not read."""
    for columns in (0, 1, 7):
        story = _story(bench, stale_columns=columns)
        block = story.block_size
        numbers = story.prefill(3, 2 * block, 4 * block - 1)
        story.decode(numbers)
        story.step(StoryStep(rows=[(numbers[0], block - 3), (numbers[2], 2)]))


@law()
def cleared_blocks_hide_what_was_there(bench: Bench) -> None:
    """Not even NaN that another request left in a block gets out once clear_blocks has been called for it."""
    _tell_mixed(_story(bench, garbage=float("nan"), stale_columns=0))


@law()
def padding_tokens(bench: Bench) -> None:
    """Padding, as tokens without a row or as rows in the null block, gives finite values and touches nobody else."""
    story = _story(bench)
    block = story.block_size
    numbers = story.prefill(2, block, block + 7)
    story.decode(numbers, padding=5)
    story.step(StoryStep(rows=[(numbers[1], 3), (numbers[0], 1)], padding=block + 2))
    story.decode(numbers, padding=1)
    story.decode(numbers)


@law()
def rows_share_blocks_of_the_same_step(bench: Bench) -> None:
    """A row reads blocks that another row of the same step fills: all writes come before all reads."""
    for own in (1, 6):
        story = _story(bench)
        shared = 2 * story.block_size
        parent, child = story.add(2)
        story.step(StoryStep(rows=[(parent, shared + 3), (child, own)], shares={child: (parent, shared)}))
        story.decode([parent, child])


@law()
def strided_inputs(bench: Bench) -> None:
    """q, k and v may be views of one fused tensor."""
    story = _story(bench)
    numbers = list(story.add(3))
    story.step(StoryStep(rows=[(n, 5 + 9 * n) for n in numbers], strided=True))
    story.step(StoryStep(rows=[(n, 1) for n in numbers], strided=True))


@law(Feature.SLIDING_WINDOW)
def sliding_window(bench: Bench) -> None:
    """With a window of w, a query at position p sees the keys p - w + 1 … p and no other, in prefills, chunks and decodes."""
    block = _block_size(bench)
    for window in (1, block - 1, block, block + 1, 2 * block + 3):
        _tell_mixed(_story(bench, _spec(bench, sliding_window=window)))


@law(Feature.LOGITS_SOFT_CAP)
def soft_cap(bench: Bench) -> None:
    """With a soft cap c, scores become c tanh(score / c) before the mask."""
    _tell_mixed(_story(bench, _spec(bench, logits_soft_cap=0.7)))


@law()
def layers_share_metadata(bench: Bench) -> None:
    """One bundle of metadata serves all layers of a step, each with its own cache and window: nothing of one gets into another."""
    story = _story(bench)
    other = _spec(bench, scale=1.0)
    if bench.platform.capability(Feature.SLIDING_WINDOW).is_usable:
        other = replace(other, sliding_window=3)
    story.between = story.another_layer(other)
    _tell_mixed(story)


@law()
def many_rows(bench: Bench) -> None:
    """Steps of many rows, all lengths at once."""
    story = _story(bench)
    longest = story.block_size + min(9, story.block_size)
    rows = story.prefill(*(1 + (7 * i) % longest for i in range(40)))
    story.decode(rows)
    story.decode(rows[::2])


@law()
def left_padding(bench: Bench) -> None:
    """Where the platform asks for padding on the left: rows that end in the same column, behind columns of the null block, equal dense."""
    config = bench.workplace.config(dtype=bench.dtype_name)
    constraints = bench.platform.scheduling_constraints(config)
    if constraints.padding_side != "left":
        bench.left_out.append("the platform asks for no padding on the left: the batch builder never makes such a step")
        return
    block, spec = config.cache_config.block_size, _spec(bench)
    chunk = min(constraints.prefill_chunk_tokens or 2 * block, 2 * block)
    rows = min(3, *constraints.decode_batch_buckets[-1:], 3)
    story = LeftPaddedStory(bench, spec, constraints, block, rows)
    for slot, length in enumerate((block + 3, 2, 3 * block + 2)[:rows]):
        while (left := length - story.length(slot)) > 0:
            story.step((slot, min(chunk, left)))
    for count in range(1, rows + 1):
        story.step(*((slot, 1) for slot in range(count)))


@law(quick=False)
def long_contexts(bench: Bench) -> None:
    """Contexts of many blocks, prefills of many hundred tokens."""
    story = _story(bench)
    most = min(601, 40 * story.block_size)  # small blocks would run out
    numbers = story.prefill(most, most - 1)
    story.step(StoryStep(rows=[(numbers[0], 1), (numbers[1], min(70, 4 * story.block_size))]))
    story.decode(numbers)


@law()
def decodes_go_on(bench: Bench) -> None:
    """Many decode steps, rows coming and going, order changing."""
    story = _story(bench)
    rows = story.prefill(1, story.block_size - 2, story.block_size)
    for count in range(8 if bench.quick else 24):
        story.decode(rows[::-1] if count % 2 else rows, padding=count % 3)
        if count % 5 == 4:
            rows = [*rows[1:], *story.prefill(count)]


@law(quick=False, per_dtype=False)
def traces_whole(bench: Bench) -> None:
    """`forward` is traced with the model: torch.compile(fullgraph=True) finds no Python state and no value of a tensor in it."""
    story = _story(bench)
    eager = story.backend.forward
    story.forward = torch.compile(eager, fullgraph=True, backend="eager")
    numbers = story.prefill(3, story.block_size + 1)
    story.decode(numbers)
