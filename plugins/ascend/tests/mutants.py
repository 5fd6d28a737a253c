"""Owns broken variants of the plugin, each with one fault that accelerators invite, and a run of the laws that must notice.

`python -m plugins.ascend.tests.mutants` on an NPU, or under `cann-sim run`, prints which law caught which.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any, ClassVar

import numpy as np
import torch

from plugins.ascend.tests.mutant_names import MUTANT_NAMES
from vllm.attention.backends.abstract import AttentionBatch
from vllm.testing import run_laws
from vllm.testing.report import Status
from vllm_ascend.attention import FusedAttention, FusedMetadata
from vllm_ascend.graph import AclGraphForward
from vllm_ascend.platform import AscendPlatform

__all__ = ["MUTANTS", "Mutant", "UpdatesUnderAReplay", "caught"]


class Mutant(AscendPlatform):
    """The platform with one broken part."""

    attention: ClassVar[type[FusedAttention]] = FusedAttention
    captured: ClassVar[type[AclGraphForward]] = AclGraphForward
    caught_by: ClassVar[tuple[str, ...]]

    def get_attn_backend_cls(self) -> str:
        return f"{self.attention.__module__}.{self.attention.__qualname__}"

    def get_captured_forward_cls(self) -> str:
        return f"{self.captured.__module__}.{self.captured.__qualname__}"


class StoresBeside(FusedAttention):
    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._side = torch.npu.Stream(device)

    def _store(self, *arguments: Any) -> None:
        with torch.npu.stream(self._side):
            super()._store(*arguments)


class MissingStreamWait(Mutant):
    """Keys and values are stored on a stream of their own, and attention does not wait for it."""

    attention = StoresBeside
    caught_by = ("attention.ragged_rows",)


class HalfBlocks(FusedAttention):
    def _attend(self, q_THD: Any, k_cache: Any, v_cache: Any, metadata: Any, spec: Any) -> torch.Tensor:
        half = k_cache.shape[1] // 2
        halves = (cache.view(-1, half, *cache.shape[2:]) for cache in (k_cache, v_cache))
        return super()._attend(q_THD, *halves, metadata, spec)


class WrongBlockSize(Mutant):
    """The operator is told that blocks are half as long as they are."""

    attention = HalfBlocks
    caught_by = ("attention.ragged_rows",)


class ReadsAtOnce(FusedAttention):
    def build_metadata(self, batch: AttentionBatch) -> FusedMetadata:
        on_device_N = self._to_device(batch.seq_lens_N)
        lengths_N = torch.zeros(on_device_N.shape, dtype=torch.int32, pin_memory=True)
        lengths_N.copy_(on_device_N, non_blocking=True)
        return super().build_metadata(batch)._replace(seq_lens_N=lengths_N.tolist())


class ReadBeforeCopy(Mutant):
    """The host reads lengths that are still on their way from the device."""

    attention = ReadsAtOnce
    caught_by = ("attention.ragged_rows",)


class OneStagingBuffer(FusedAttention):
    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        self._staged = torch.zeros(1 << 16, dtype=torch.int32, pin_memory=True)

    def _to_device(self, array: np.ndarray) -> torch.Tensor:
        staged = self._staged[: array.size].view(array.shape)
        staged.numpy()[...] = array
        return staged.to(self.device, non_blocking=True)


class OverwrittenBeforeCopy(Mutant):
    """All copies to the device start from one pinned buffer, which is filled again before the device has read it."""

    attention = OneStagingBuffer
    caught_by = ("attention.ragged_rows",)


class LastStepsLengths(AclGraphForward):
    _last: list[int] | None = None

    def _update_lengths(self, graph: Any, seq_lens_N: list[int], earlier_steps_done: Any) -> None:
        same_rows = self._last is not None and len(self._last) == len(seq_lens_N)
        super()._update_lengths(graph, self._last if same_rows else seq_lens_N, earlier_steps_done)
        self._last = seq_lens_N


class StaleLengths(Mutant):
    """A replayed graph attends over the contexts of the step before."""

    captured = LastStepsLengths
    caught_by = ("generation.captured_equals_eager",)


class StaleTables(AclGraphForward):
    def replay(self, bucket_rows: int, ids_T: Any, positions_T: Any, kv_caches: Any, metadata: Any) -> torch.Tensor:
        table_NB = self._recordings[bucket_rows].metadata.block_table_NB
        return super().replay(bucket_rows, ids_T, positions_T, kv_caches, metadata._replace(block_table_NB=table_NB))


class StaleBlockTable(Mutant):
    """A replayed graph reads the block table of its recording."""

    captured = StaleTables
    caught_by = ("generation.captured_equals_eager",)


class UpdatesUnderAReplay(AclGraphForward):
    """Lengths change while the replay before may still run; engines that read each step's tokens first do not see it."""

    def _update_lengths(self, graph: Any, seq_lens_N: list[int], earlier_steps_done: Any) -> None:
        graph.update(cpu_update_input=[{"actual_seq_lengths_kv": seq_lens_N}])


MUTANTS: tuple[type[Mutant], ...] = tuple(globals()[name] for name in MUTANT_NAMES)


def caught(mutant: type[Mutant]) -> dict[str, str]:
    """Law -> how it failed, of the laws that must."""
    path = f"plugins.ascend.tests.mutants.{mutant.__qualname__}"
    report = run_laws(path, laws=mutant.caught_by, dtypes=["float16"], quick=True)
    broken = (Status.FAILED, Status.ERROR)
    return {outcome.law: outcome.detail for outcome in report.outcomes if outcome.status in broken}


def main(names: list[str]) -> int:
    """Each mutant in a process of its own, because a device that failed stays so; status 1 if one got through."""
    if len(names) == 1:
        mutant = next(each for each in MUTANTS if each.__qualname__ == names[0])
        laws = caught(mutant)
        verdict = ", ".join(f"{law}: {detail.strip().splitlines()[-1][:160]}" for law, detail in laws.items())
        print(f"{names[0]}: {verdict or 'NOT CAUGHT'}", flush=True)
        return int(set(laws) != set(mutant.caught_by))
    command = [sys.executable, "-m", "plugins.ascend.tests.mutants"]
    every = names or [mutant.__qualname__ for mutant in MUTANTS]
    return max(subprocess.run([*command, name], check=False).returncode for name in every)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
