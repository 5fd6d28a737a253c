"""Scheduling constraints as data: what a device cannot do, said once by its platform and obeyed by the scheduler and the batch builder.

No plugin forks the scheduler: it fills these fields. Every field's default means "no constraint".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["SchedulingConstraints"]


@dataclass(frozen=True, kw_only=True, slots=True)
class SchedulingConstraints:
    """What the one scheduler and the one batch builder must respect on a platform."""

    block_size_multiple: int = 1
    """The KV block size must be a multiple of this many tokens."""
    default_block_size: int = 16
    """Block size where the user gives none."""
    max_concurrent_prefills: int | None = None
    """Most requests whose prompt is being computed at once (several steps each); None = no limit."""
    prefill_chunk_tokens: int | None = None
    """A prompt is computed in chunks of this many tokens, the last one may be shorter (the batch builder pads it)."""
    mixes_prefill_and_decode: bool = True
    """False: a step holds either prefill rows or decode rows."""
    decode_steps_between_prefills: int = 0
    """With `mixes_prefill_and_decode` False: at least this many decode steps between two prefill steps while decodes wait."""
    decode_batch_buckets: tuple[int, ...] = ()
    """Ascending row counts that a decode step is padded to; empty = any. The last one caps max_num_seqs."""
    token_buckets: tuple[int, ...] = ()
    """Ascending token counts that a step with prefill is padded to; empty = any. The last one caps max_num_batched_tokens."""
    context_buckets: tuple[int, ...] = ()
    """Ascending context lengths, in whole blocks of tokens, that the longest context of a step is padded to; empty = any whole block.
    The last one holds max_model_len."""
    padding_side: Literal["right", "left"] = "right"
    """Where a row is padded when rows must be of one length; left means by whole blocks, so that all contexts end in the same block."""
    max_batch_context_tokens: int | None = None
    """Budget for rows × longest context of a decode step, both as padded to their buckets."""
    decode_step_cost_tokens: int | None = None
    """What a decode step costs besides rows × context, counted in tokens of context (reading the weights, mostly).
    Given, rows of very different lengths take turns where that costs less than padding them to one length, and
    `max_batch_context_tokens` bounds each step instead of everybody who runs. None: every decode step takes all rows that can run."""
    max_model_len: int | None = None
    """Longest context the device can hold."""

    def bucket_rows(self, rows: int) -> int:
        """The row count that a decode step of `rows` rows is padded to."""
        return _bucket(self.decode_batch_buckets, rows)

    def bucket_tokens(self, tokens: int) -> int:
        """The token count that a step of `tokens` tokens is padded to."""
        return _bucket(self.token_buckets, tokens)

    def bucket_context(self, tokens: int, block_size: int) -> int:
        """The context length that a step whose longest context is `tokens` is padded to: whole blocks, then a bucket."""
        return _bucket(self.context_buckets, -(-tokens // block_size) * block_size)

    def admits_batch_context(self, rows: int, longest_context_tokens: int, block_size: int) -> bool:
        """Whether a decode step of `rows` rows fits the device's rows × context budget."""
        if self.max_batch_context_tokens is None:
            return True
        context_tokens = self.bucket_context(longest_context_tokens, block_size)
        return self.bucket_rows(rows) * context_tokens <= self.max_batch_context_tokens

    def most_rows(self, context_tokens: int, rows: int) -> int:
        """Of `rows` rows padded to `context_tokens` (a bucket), how many one decode step may hold; at least one."""
        if self.max_batch_context_tokens is None:
            return rows
        budget_rows = self.max_batch_context_tokens // context_tokens
        if not self.decode_batch_buckets:
            return max(1, min(rows, budget_rows))
        return max(1, min(rows, max((size for size in self.decode_batch_buckets if size <= budget_rows), default=1)))


def _bucket(buckets: tuple[int, ...], wanted: int) -> int:
    """Smallest bucket that holds `wanted`; `wanted` itself without buckets."""
    if not buckets:
        return wanted
    fitting = [bucket for bucket in buckets if bucket >= wanted]
    assert fitting, f"{wanted} is past the largest bucket {buckets[-1]}: the scheduler must cap the step"
    return fitting[0]
