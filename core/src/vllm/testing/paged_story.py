"""Owns stories for attention backends: sequences that grow step by step through a paged cache, every step compared with dense fp32.

The oracle never sees a block: it keeps each sequence's keys and values in order and attends over them with `dense_attention.attend`.
Contexts get into the cache as in life, through the backend's own `forward`.

Legend: T tokens of a step, N rows, S context of one row, C its tokens in the step, H query heads, K key/value heads, D head size.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from vllm.attention.backends.abstract import AttentionBackend, AttentionBatch, AttentionSpec
from vllm.testing.dense_attention import attend
from vllm.worker.kv_cache_spec import NULL_BLOCK

if TYPE_CHECKING:
    from vllm.testing.bench import Bench

__all__ = ["GrowingText", "Story", "StoryStep"]

NUM_BLOCKS = 96
SHOUT = 30.0
"""Size of what lies in blocks that nobody may read: one such key in a softmax cannot be overlooked."""


@dataclass
class GrowingText:
    """One row's life: its blocks, and its keys and values so far, in order, on the host in fp32."""

    blocks: list[int]
    k_SKD: torch.Tensor
    v_SKD: torch.Tensor

    @property
    def length(self) -> int:
        """Tokens so far."""
        return len(self.k_SKD)


@dataclass(frozen=True, kw_only=True)
class StoryStep:
    """What one step computes: (sequence, new tokens) per row; the story puts rows of one token first."""

    rows: Sequence[tuple[int, int]]
    padding: int = 0
    """Tokens that belong to no row; in a step of decodes alone, rows of one token in the null block."""
    shares: Mapping[int, tuple[int, int]] = field(default_factory=dict)
    """New sequence -> (parent, tokens): it begins with the parent's first whole blocks, which the parent writes in this very step."""
    strided: bool = False
    """Hand q, k, v over as views of one fused tensor."""


@dataclass
class Story:
    """Sequences over one layer's cache."""

    bench: Bench
    spec: AttentionSpec
    block_size: int
    blocks_seed: int = 0
    values_seed: int = 0
    stale_columns: int = 2
    garbage: float = SHOUT
    """What lies in blocks before they are handed out."""
    sequences: list[GrowingText] = field(default_factory=list)
    outputs: list[torch.Tensor] = field(default_factory=list)
    """Of every step, real tokens only, in batch order, on the host."""
    between: Callable[[Any, int], None] | None = None
    """Called with each step's metadata and number of tokens, before and after this layer's turn: other layers."""

    def __post_init__(self) -> None:
        self.backend: AttentionBackend[Any] = self.bench.workplace.backend(self.bench.dtype_name)
        rng = np.random.default_rng(self.blocks_seed)
        self._free_blocks: list[int] = rng.permutation(np.arange(2, NUM_BLOCKS - 1)).tolist()
        self._poison = self._free_blocks.pop()
        self._free_blocks += [NUM_BLOCKS - 1, 1]  # handed out first: where an index that is off by one, or -1, ends up
        self.forward: Callable[..., torch.Tensor] = self.backend.forward
        self._values = torch.Generator().manual_seed(self.values_seed)
        shapes = self.backend.kv_cache_shapes(NUM_BLOCKS, self.block_size, self.spec.num_kv_heads, self.spec.head_size)
        self._shapes = shapes
        self.kv_cache = self._new_cache()
        self._last: tuple[torch.Tensor, torch.Tensor] | None = None

    # -- telling ----------------------------------------------------------------------------------------------------------------

    def add(self, count: int = 1) -> range:
        """New empty sequences; their numbers."""
        none = torch.empty(0, self.spec.num_kv_heads, self.spec.head_size)
        first = len(self.sequences)
        self.sequences += [GrowingText([], none, none) for _ in range(count)]
        return range(first, first + count)

    def prefill(self, *lengths: int) -> list[int]:
        """New sequences of these lengths, computed whole in one step, and checked."""
        numbers = list(self.add(len(lengths)))
        self.step(StoryStep(rows=list(zip(numbers, lengths, strict=True))))
        return numbers

    def decode(self, numbers: Sequence[int], *, padding: int = 0) -> None:
        """One more token each."""
        self.step(StoryStep(rows=[(number, 1) for number in numbers], padding=padding))

    def step(self, step: StoryStep) -> None:
        """Compute one step on the backend and compare it with the oracle."""
        rows = sorted(step.rows, key=lambda row: row[1] != 1)
        contexts = [self.sequences[number].length + step.shares.get(number, (0, 0))[1] for number, _ in rows]
        q_THD, k_TKD, v_TKD = self._draw(rows, step)
        self._remember(rows, k_TKD, v_TKD, step.shares)
        batch = self._batch(rows, contexts, step.padding)
        found_THD = self._forward(batch, q_THD, k_TKD, v_TKD)
        self._compare(rows, contexts, q_THD, found_THD)

    def another_layer(self, spec: AttentionSpec) -> Callable[[Any, int], None]:
        """A layer with the same shapes and a cache of its own, for `between`."""
        cache, values = self._new_cache(), torch.Generator().manual_seed(99)

        def run(metadata: Any, tokens: int) -> None:
            heads = (spec.num_heads, spec.num_kv_heads, spec.num_kv_heads)
            parts = (torch.randn(tokens, count, spec.head_size, generator=values) for count in heads)
            q_THD, k_TKD, v_TKD = (part.to(device=self.bench.device, dtype=self.bench.dtype) for part in parts)
            self.backend.forward(q_THD, k_TKD, v_TKD, cache, metadata, spec)

        return run

    def _new_cache(self) -> tuple[torch.Tensor, ...]:
        dtype, device = self.bench.dtype, self.bench.device
        cache = tuple(torch.full(shape, self.garbage, dtype=dtype, device=device) for shape in self._shapes)
        self.backend.clear_blocks(cache, self._block_ids([NULL_BLOCK]))
        return cache

    def _block_ids(self, blocks: Sequence[int]) -> torch.Tensor:
        return torch.tensor(blocks, dtype=torch.int64, device=self.bench.device)

    # -- one step ---------------------------------------------------------------------------------------------------------------

    def _draw(self, rows: Sequence[tuple[int, int]], step: StoryStep) -> tuple[torch.Tensor, ...]:
        """q, k, v of the step on the device; padding last."""
        tokens = sum(count for _, count in rows)
        heads = [self.spec.num_heads, self.spec.num_kv_heads, self.spec.num_kv_heads]
        fused = torch.randn(tokens, sum(heads), self.spec.head_size, generator=self._values)
        extra = torch.full((step.padding, *fused.shape[1:]), 1.0)
        fused = torch.cat([fused, extra]).to(device=self.bench.device, dtype=self.bench.dtype)
        parts = fused.split(heads, dim=1)
        return parts if step.strided else tuple(part.contiguous() for part in parts)

    def _remember(
        self,
        rows: Sequence[tuple[int, int]],
        k_TKD: torch.Tensor,
        v_TKD: torch.Tensor,
        shares: Mapping[int, tuple[int, int]],
    ) -> None:
        start = 0
        for number, count in rows:
            row = self.sequences[number]
            row.k_SKD = torch.cat([row.k_SKD, k_TKD[start : start + count].cpu().float()])
            row.v_SKD = torch.cat([row.v_SKD, v_TKD[start : start + count].cpu().float()])
            start += count
        for child, (parent, tokens) in shares.items():
            self._inherit(self.sequences[child], self.sequences[parent], tokens)
        for number, _ in rows:
            self._reserve(self.sequences[number], self.sequences[number].length)

    def _inherit(self, child: GrowingText, parent: GrowingText, tokens: int) -> None:
        assert tokens % self.block_size == 0, "only whole blocks are shared"
        self._reserve(parent, parent.length)
        child.blocks = parent.blocks[: tokens // self.block_size]
        child.k_SKD = torch.cat([parent.k_SKD[:tokens], child.k_SKD])
        child.v_SKD = torch.cat([parent.v_SKD[:tokens], child.v_SKD])

    def _reserve(self, row: GrowingText, tokens: int) -> None:
        """Blocks for so many tokens; new ones are cleared, as the runner does."""
        missing = -(-tokens // self.block_size) - len(row.blocks)
        fresh = [self._free_blocks.pop() for _ in range(missing)]
        row.blocks += fresh
        if fresh:
            self.backend.clear_blocks(self.kv_cache, self._block_ids(fresh))

    def _batch(self, rows: Sequence[tuple[int, int]], contexts: Sequence[int], padding: int) -> AttentionBatch:
        counts = [count for _, count in rows]
        lengths = [context + count for context, count in zip(contexts, counts, strict=True)]
        table_NB = self._block_table([number for number, _ in rows], max(lengths))
        slots = [
            int(table_NB[n, position // self.block_size]) * self.block_size + position % self.block_size
            for n, (context, length) in enumerate(zip(contexts, lengths, strict=True))
            for position in range(context, length)
        ]
        slots += [NULL_BLOCK * self.block_size + i % self.block_size for i in range(padding)]
        if padding and max(counts) == 1:  # as the batch builder pads decodes
            counts, lengths = counts + [1] * padding, lengths + [1] * padding
            table_NB = np.concatenate([table_NB, np.full((padding, table_NB.shape[1]), NULL_BLOCK, np.int32)])
        return AttentionBatch(
            query_start_N1=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
            seq_lens_N=np.array(lengths, np.int32),
            block_table_NB=table_NB,
            slot_mapping_T=np.array(slots, np.int64),
            num_decode_rows=sum(count == 1 for count in counts),
            block_size=self.block_size,
        )

    def _block_table(self, numbers: Sequence[int], longest: int) -> np.ndarray:
        """Columns past a row's end name a block full of what must not be read."""
        columns = -(-longest // self.block_size) + self.stale_columns
        table_NB = np.full((len(numbers), columns), self._poison, np.int32)
        for n, number in enumerate(numbers):
            blocks = self.sequences[number].blocks[:columns]
            table_NB[n, : len(blocks)] = blocks
        return table_NB

    def _forward(
        self, batch: AttentionBatch, q_THD: torch.Tensor, k_TKD: torch.Tensor, v_TKD: torch.Tensor
    ) -> torch.Tensor:
        with torch.inference_mode():
            metadata = self.backend.build_metadata(batch)
            for array in (batch.query_start_N1, batch.seq_lens_N, batch.block_table_NB, batch.slot_mapping_T):
                array.fill(1)  # the runner overwrites them: a backend that kept a view sees it here
            if self.between is not None:
                self.between(metadata, len(q_THD))
            out_THD = self.forward(q_THD, k_TKD, v_TKD, self.kv_cache, metadata, self.spec)
            if self.between is not None:
                self.between(metadata, len(q_THD))
            self.bench.platform.synchronize()
        self._check_ownership(out_THD)
        self.bench.equal("dtype of the output", out_THD.dtype, q_THD.dtype)
        self.bench.equal("shape of the output", tuple(out_THD.shape), tuple(q_THD.shape))
        self.bench.holds(bool(out_THD.isfinite().all()), "the output holds values that are not finite")
        return out_THD.cpu().float()

    def _check_ownership(self, out_THD: torch.Tensor) -> None:
        """The caller owns what it got: a later call must not write into it."""
        if self._last is not None:
            kept = torch.equal(*self._last)
            self.bench.holds(
                kept, "the output of the last step has changed: the backend gave a buffer that it uses again"
            )
        self._last = out_THD, out_THD.clone()

    def _compare(
        self,
        rows: Sequence[tuple[int, int]],
        contexts: Sequence[int],
        q_THD: torch.Tensor,
        found_THD: torch.Tensor,
    ) -> None:
        q_THD, start = q_THD.cpu().float(), 0
        for (number, count), context in zip(rows, contexts, strict=True):
            row = self.sequences[number]
            expected_CHD = attend(q_THD[start : start + count], row.k_SKD, row.v_SKD, self.spec)
            what = f"sequence {number}, {count} new after {context}"
            found_CHD = found_THD[start : start + count]
            self.bench.close(what, found_CHD, expected_CHD, self.bench.tolerance.attention, relative=True)
            start += count
        self.outputs.append(found_THD[:start])
