"""Owns the shapes of steps on a platform whose buckets fix them: which there are, and a step of each that touches nobody's blocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vllm.platforms.constraints import SchedulingConstraints
    from vllm.worker.step_inputs import StepRows

__all__ = ["StepShape", "dummy_rows", "step_shapes"]


@dataclass(frozen=True, slots=True)
class StepShape:
    """What a compiled step is made for: everything counted with its padding."""

    rows: int
    tokens: int
    context_tokens: int
    """Columns of the block table × block size."""

    @property
    def is_decode(self) -> bool:
        """One token per row."""
        return self.rows == self.tokens

    def __str__(self) -> str:
        if self.is_decode:
            return f"decode of {self.rows} row{'s' * (self.rows > 1)} with {self.context_tokens} tokens of context"
        return f"prefill chunk of {self.tokens} tokens with {self.context_tokens} tokens of context"


def step_shapes(
    constraints: SchedulingConstraints, *, max_num_seqs: int, max_model_len: int, block_size: int
) -> tuple[StepShape, ...]:
    """All shapes that steps can have where decode rows, prefill tokens and contexts come in buckets and one prompt is computed at a
    time; small ones first. Empty where one of the three comes in any size.
    """
    if not (constraints.decode_batch_buckets and constraints.token_buckets and constraints.context_buckets):
        return ()
    longest = constraints.bucket_context(max_model_len, block_size)
    contexts = [context for context in constraints.context_buckets if context <= longest]
    most_rows = constraints.bucket_rows(max_num_seqs)
    rows = [size for size in constraints.decode_batch_buckets if size <= most_rows]
    chunks = [StepShape(1, tokens, context) for tokens in constraints.token_buckets for context in contexts]
    chunks = [shape for shape in chunks if _is_chunk(shape, max_model_len, block_size)]
    return (*chunks, *_decodes(constraints, rows, contexts))


def _is_chunk(shape: StepShape, max_model_len: int, block_size: int) -> bool:
    """Whether there is such a step: a chunk fits its context, and a single last token is computed like a decode."""
    first, end = _place(shape, max_model_len, block_size)
    return shape.tokens <= shape.context_tokens and end - first > 1


def _decodes(constraints: SchedulingConstraints, rows: list[int], contexts: list[int]) -> Iterator[StepShape]:
    for context in contexts:
        yield from (StepShape(size, size, context) for size in rows if size == constraints.most_rows(context, size))


def dummy_rows(shape: StepShape, *, max_model_len: int, block_size: int) -> StepRows:
    """Rows of slot 0, for a batch whose block tables still point at the null block."""
    from vllm.worker.step_inputs import StepRows

    first, end = _place(shape, max_model_len, block_size)
    count = end - first
    return StepRows(
        slots_N=np.zeros(shape.rows, np.int32),
        first_position_N=np.full(shape.rows, first, np.int64),
        count_N=np.full(shape.rows, count, np.int64),
        samples_N=np.ones(shape.rows, np.bool_),
        num_decode_rows=shape.rows if count == 1 else 0,
        query_start_N1=(np.arange(shape.rows + 1) * count).astype(np.int32),
    )


def _place(shape: StepShape, max_model_len: int, block_size: int) -> tuple[int, int]:
    """First position and end of the tokens of the longest row that such a step may have."""
    end = min(shape.context_tokens, max_model_len)
    if shape.is_decode:
        return end - 1, end
    return max(0, -(-end // block_size) - shape.tokens // block_size) * block_size, end
