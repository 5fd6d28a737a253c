"""Owns a small captured model for tests: one attention layer of the plugin's backend, steps of made-up rows, eager and replayed.

Legend: N rows, T tokens, X hidden size, H query heads, K key/value heads, D head size.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from vllm.attention.backends.abstract import AttentionBatch, AttentionSpec
from vllm.executor.worker_factory import load_platform
from vllm.plugins.dotted import load_subclass
from vllm.worker.captured_forward import CapturedForward
from vllm_ascend.attention import FusedAttention, FusedMetadata
from vllm_ascend.platform import BLOCK_SIZE

__all__ = ["STEPS", "OneLayer", "differing"]

STEPS = ([5, 300], [128, 129], [512, 1], [6, 301], [1, 1])
"""Contexts of two rows, step by step: longer, shorter, at the edges of blocks."""

Step = tuple[Any, ...]
"""ids_T, positions_T, caches, metadata."""
ROWS = 2
BLOCKS_PER_ROW = 4
SPEC = AttentionSpec(num_heads=2, num_kv_heads=1, head_size=64, scale=0.125)


class OneLayer:
    """Hidden states come from the token ids, and attention over a cache full of seeded values mixes them."""

    def __init__(self, captured_cls: type[CapturedForward]) -> None:
        self.device = torch.device("npu", 0)
        values = torch.Generator().manual_seed(0)
        self.backend = FusedAttention(self.device)
        num_blocks = 1 + ROWS * BLOCKS_PER_ROW
        shapes = self.backend.kv_cache_shapes(num_blocks, BLOCK_SIZE, SPEC.num_kv_heads, SPEC.head_size)
        self._values = [torch.randn(shape, generator=values) for shape in shapes]
        self.caches = [tuple(tensor.to(self.device, torch.bfloat16) for tensor in self._values)]
        self.embedding_VX = torch.randn(32, 4 * SPEC.head_size, generator=values).to(self.device, torch.bfloat16)
        self.captured = captured_cls(self.forward, self.device)
        self.captured.capture(ROWS, *self.step([BLOCKS_PER_ROW * BLOCK_SIZE] * ROWS, seed=0))

    def forward(
        self,
        ids_T: torch.Tensor,
        positions_T: torch.Tensor,
        caches: list[tuple[torch.Tensor, ...]],
        metadata: FusedMetadata,
    ) -> torch.Tensor:
        """The model's forward: four heads of a token's embedding are two queries, a key and a value."""
        del positions_T
        q_THD, k_TKD, v_TKD = self.embedding_VX[ids_T].view(len(ids_T), 4, SPEC.head_size).split([2, 1, 1], dim=1)
        return self.backend.forward(q_THD, k_TKD, v_TKD, caches[0], metadata, SPEC).flatten(1)

    def step(self, lengths: Sequence[int], seed: int) -> Step:
        """A decode step whose rows have these contexts."""
        positions_N = np.array(lengths) - 1
        table_NB = 1 + np.arange(ROWS * BLOCKS_PER_ROW, dtype=np.int32).reshape(ROWS, BLOCKS_PER_ROW)
        columns = -(-max(lengths) // BLOCK_SIZE)
        batch = AttentionBatch(
            query_start_N1=np.arange(ROWS + 1, dtype=np.int32),
            seq_lens_N=np.array(lengths, np.int32),
            block_table_NB=table_NB[:, :columns],
            slot_mapping_T=table_NB[range(ROWS), positions_N // BLOCK_SIZE] * BLOCK_SIZE + positions_N % BLOCK_SIZE,
            num_decode_rows=ROWS,
            block_size=BLOCK_SIZE,
        )
        ids_T = (torch.arange(ROWS) + seed * ROWS).to(self.device)
        return ids_T, torch.from_numpy(positions_N).to(self.device), self.caches, self.backend.build_metadata(batch)

    def eagerly(self, lengths_of_steps: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """The steps' hidden states, on the host, each step finished before the next."""

        def run(step: Step) -> torch.Tensor:
            hidden_TX = self.forward(*step)
            torch.npu.synchronize()
            return hidden_TX

        return self._in_a_row(lengths_of_steps, run)

    def replayed(self, lengths_of_steps: Sequence[Sequence[int]]) -> list[torch.Tensor]:
        """The same, replayed one behind the other with nothing waited for between them."""
        return self._in_a_row(lengths_of_steps, lambda step: self.captured.replay(ROWS, *step).clone())

    def _in_a_row(
        self, lengths_of_steps: Sequence[Sequence[int]], run: Callable[[Step], torch.Tensor]
    ) -> list[torch.Tensor]:
        """From the same cache every time; the steps' token ids follow from their numbers."""
        steps = [self.step(lengths, seed) for seed, lengths in enumerate(lengths_of_steps, 1)]
        for tensor, values in zip(self.caches[0], self._values, strict=True):
            tensor.copy_(values)
        torch.npu.synchronize()
        outputs = [run(step) for step in steps]
        return [output.cpu() for output in outputs]


def differing(captured_path: str, patience_s: float) -> int | str:
    """Of steps replayed in a row, how many do not give what eager ones give; "hangs" where the replays wait for each other.

    Only the replays are watched: how long it takes to import and to record says nothing about them.
    """
    load_platform("vllm_ascend.platform.AscendPlatform")
    layer = OneLayer(load_subclass(captured_path, CapturedForward, option="the recorder"))
    eager = layer.eagerly(STEPS)
    outputs: list[torch.Tensor] = []
    replays = threading.Thread(target=lambda: outputs.extend(layer.replayed(STEPS)), daemon=True)
    replays.start()
    replays.join(patience_s)
    if replays.is_alive():
        return "hangs"
    return sum(not torch.equal(*pair) for pair in zip(outputs, eager, strict=True))


def main() -> None:
    """Prints the number, or that the replays hang: a length written twice is one that a later replay misses."""
    print(differing(sys.argv[1], float(sys.argv[2])), flush=True)
    os._exit(0)  # a thread that hangs in the device's library would keep the process


if __name__ == "__main__":
    main()
