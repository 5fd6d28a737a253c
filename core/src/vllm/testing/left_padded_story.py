"""Owns a story for attention backends under left padding: steps laid out by the core's own batch builder, compared with dense fp32.

Legend: T tokens of a step, N rows, H query heads, K key/value heads, D head size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from vllm.testing.dense_attention import attend
from vllm.worker.persistent_batch import PersistentBatch
from vllm.worker.step_inputs import InputBuilder, StepRows

if TYPE_CHECKING:
    from vllm.attention.backends.abstract import AttentionSpec
    from vllm.platforms.constraints import SchedulingConstraints
    from vllm.testing.bench import Bench

__all__ = ["BLOCKS", "LeftPaddedStory"]

BLOCKS = 6
"""Per sequence, at most."""


@dataclass
class _Text:
    """Keys and values of a slot so far, on the host in fp32."""

    k_SKD: torch.Tensor
    v_SKD: torch.Tensor


class LeftPaddedStory:
    """Sequences by slot; each of so many blocks at most, in blocks that lie scattered over the cache."""

    def __init__(
        self, bench: Bench, spec: AttentionSpec, constraints: SchedulingConstraints, block_size: int, slots: int
    ) -> None:
        self.bench, self.spec = bench, spec
        self.backend = bench.workplace.backend(bench.dtype_name)
        self._batch = PersistentBatch(slots, BLOCKS * block_size, block_size)
        scattered = np.random.default_rng(3).permutation(np.arange(1, slots * BLOCKS + 1))
        self._batch.block_table_SB[:, :BLOCKS] = scattered.reshape(slots, -1)
        self._builder = InputBuilder(self._batch, constraints, bench.device)
        shapes = self.backend.kv_cache_shapes(len(scattered) + 1, block_size, spec.num_kv_heads, spec.head_size)
        self._cache = tuple(torch.zeros(shape, dtype=bench.dtype, device=bench.device) for shape in shapes)
        none = torch.empty(0, spec.num_kv_heads, spec.head_size)
        self._texts = [_Text(none, none) for _ in range(slots)]
        self._values = torch.Generator().manual_seed(5)

    def length(self, slot: int) -> int:
        """Tokens so far."""
        return len(self._texts[slot].k_SKD)

    def step(self, *rows: tuple[int, int]) -> None:
        """(slot, new tokens) each: one row of several, or rows of one."""
        laid_out = self._builder.lay_out(self._rows(rows))
        slots_T, position_T = self._builder.tokens(laid_out)
        num_padded = self._builder.padded_tokens(laid_out)
        q_THD, k_TKD, v_TKD = self._draw(num_padded)
        with torch.inference_mode():
            batch = self._builder.attention_batch(laid_out, slots_T, position_T, num_padded)
            metadata = self.backend.build_metadata(batch)
            found_THD = self.backend.forward(q_THD, k_TKD, v_TKD, self._cache, metadata, self.spec)
        self.bench.holds(bool(found_THD.isfinite().all()), "the output holds values that are not finite")
        starts = laid_out.query_start_N1.tolist()
        for n, (slot, count) in enumerate(rows):
            own = slice(starts[n], starts[n] + count)
            text = self._texts[slot]
            text.k_SKD = torch.cat([text.k_SKD, k_TKD[own].cpu().float()])
            text.v_SKD = torch.cat([text.v_SKD, v_TKD[own].cpu().float()])
            expected_CHD = attend(q_THD[own].cpu().float(), text.k_SKD, text.v_SKD, self.spec)
            what = f"{count} new tokens of {self.length(slot)}, padded on the left"
            found_CHD = found_THD[own].cpu().float()
            self.bench.close(what, found_CHD, expected_CHD, self.bench.tolerance.attention, relative=True)

    def _rows(self, rows: tuple[tuple[int, int], ...]) -> StepRows:
        counts = np.array([count for _, count in rows], np.int64)
        return StepRows(
            slots_N=np.array([slot for slot, _ in rows], np.int32),
            first_position_N=np.array([self.length(slot) for slot, _ in rows], np.int64),
            count_N=counts,
            samples_N=np.ones(len(rows), np.bool_),
            num_decode_rows=int((counts == 1).sum()),
            query_start_N1=np.concatenate([[0], np.cumsum(counts)]).astype(np.int32),
        )

    def _draw(self, tokens: int) -> tuple[torch.Tensor, ...]:
        heads = (self.spec.num_heads, self.spec.num_kv_heads, self.spec.num_kv_heads)
        drawn = (torch.randn(tokens, count, self.spec.head_size, generator=self._values) for count in heads)
        return tuple(part.to(device=self.bench.device, dtype=self.bench.dtype) for part in drawn)
