"""Owns captured decode steps: one ACL graph per bucket, recorded with buffers of its own and replayed on new values.

A graph holds a step's operators with their arguments fixed. What changes from step to step lies in the buffers, which a replay overwrites;
only the context lengths are host arguments of the attention operator. torch_npu records that operator as a task that can be changed: in a
replay each one waits until the update stream has written the step's lengths into it.

Legend: T tokens (= rows) of the bucket, B block-table columns, H hidden size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch_npu

from vllm.worker.captured_forward import CapturedForward
from vllm_ascend.attention import FusedMetadata

__all__ = ["AclGraphForward"]


@dataclass(frozen=True, kw_only=True)
class _Recording:
    """One bucket's graph and the tensors whose addresses it holds."""

    graph: Any
    input_ids_T: torch.Tensor
    positions_T: torch.Tensor
    metadata: FusedMetadata
    hidden_TH: torch.Tensor

    def load(self, input_ids_T: torch.Tensor, positions_T: torch.Tensor, metadata: FusedMetadata) -> None:
        """New values into the buffers. Columns past those of the step keep old block ids, which no length reaches."""
        self.input_ids_T.copy_(input_ids_T)
        self.positions_T.copy_(positions_T)
        self.metadata.slot_mapping_T.copy_(metadata.slot_mapping_T)
        columns = metadata.block_table_NB.shape[1]
        self.metadata.block_table_NB[:, :columns].copy_(metadata.block_table_NB)


class AclGraphForward(CapturedForward):
    """All recordings share one memory pool: only one replays at a time."""

    def __init__(self, forward: Callable[..., torch.Tensor], device: torch.device) -> None:
        super().__init__(forward, device)
        self._recordings: dict[int, _Recording] = {}
        self._pool = torch_npu.npu.graph_pool_handle()
        self._memory_bytes = 0

    def capture(
        self, bucket_rows: int, input_ids_T: torch.Tensor, positions_T: torch.Tensor, kv_caches: Any, metadata: Any
    ) -> None:
        """Run once eagerly, so that nothing is set up or compiled inside the recording; then record."""
        arguments = input_ids_T, positions_T, kv_caches, metadata
        self.forward(*arguments)
        torch_npu.npu.synchronize()
        torch_npu.npu.empty_cache()
        free_before_bytes, _ = torch_npu.npu.mem_get_info(self.device)
        graph = torch_npu.npu.NPUGraph()
        with torch_npu.npu.graph(graph, pool=self._pool, auto_dispatch_capture=True):
            hidden_TH = self.forward(*arguments)
        free_bytes, _ = torch_npu.npu.mem_get_info(self.device)
        self._memory_bytes += max(0, free_before_bytes - free_bytes)
        self._recordings[bucket_rows] = _Recording(
            graph=graph, input_ids_T=input_ids_T, positions_T=positions_T, metadata=metadata, hidden_TH=hidden_TH
        )

    def replay(
        self, bucket_rows: int, input_ids_T: torch.Tensor, positions_T: torch.Tensor, kv_caches: Any, metadata: Any
    ) -> torch.Tensor:
        """Queue the graph, then its lengths. Nothing here waits for the device."""
        recording = self._recordings[bucket_rows]
        earlier_steps_done = torch_npu.npu.current_stream().record_event()
        recording.load(input_ids_T, positions_T, metadata)
        recording.graph.replay()
        self._update_lengths(recording.graph, metadata.seq_lens_N, earlier_steps_done)
        return recording.hidden_TH

    def _update_lengths(self, graph: Any, seq_lens_N: list[int], earlier_steps_done: Any) -> None:
        """For all layers. Lengths must not change under the replay before, which may still run."""
        graph.graph_dispatch_mode.update_stream.wait_event(earlier_steps_done)
        graph.update(cpu_update_input=[{"actual_seq_lengths_kv": seq_lens_N}])

    def memory_bytes(self) -> int:
        """What the recordings took from the device's free memory."""
        return self._memory_bytes
