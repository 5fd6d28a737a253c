"""Owns runners, workers and recorders with one fault each, and the honest recorder.

Legend: S slots, B block-table columns, T tokens, N rows, M sampling rows.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from core.tests.sleeping_runner import DeviceLikeRunner
from vllm.attention.backends.abstract import AttentionBackend
from vllm.messages import StepPlan
from vllm.worker.captured_forward import CapturedForward
from vllm.worker.kv_cache_spec import NULL_BLOCK, KVCacheConfig, KVCacheGroup
from vllm.worker.step_inputs import InputBuilder
from vllm.worker.torch_model_runner import TorchModelRunner
from vllm.worker.torch_worker import TorchWorker
from vllm.worker.worker_base import WorkerBase


class RolledLastTokens(InputBuilder):
    def keep_last_tokens(self, slots_M: Any, tokens_M: torch.Tensor) -> None:
        super().keep_last_tokens(slots_M, tokens_M.roll(1))


class NeighboursLastToken(TorchModelRunner):
    def initialize_kv_cache(self, kv_cache_config: KVCacheConfig) -> None:
        super().initialize_kv_cache(kv_cache_config)
        self.builder = RolledLastTokens(self.batch, self.constraints, self.device, self._captured_sizes)


class StaleTable(TorchModelRunner):
    def _apply(self, plan: StepPlan) -> None:
        before_SB = self.batch.block_table_SB.copy()
        super()._apply(plan)
        for new in plan.new:
            if before_SB[new.slot, 0] != NULL_BLOCK:
                self.batch.block_table_SB[new.slot] = before_SB[new.slot]


class StaleTokens(TorchModelRunner):
    def _apply(self, plan: StepPlan) -> None:
        super()._apply(plan)
        for new in plan.new:
            self.batch.token_ids_SL[new.slot, new.num_prompt_tokens :] = 0


class ClearsCacheHits(TorchModelRunner):
    def _apply(self, plan: StepPlan) -> None:
        super()._apply(plan)
        for new in plan.new:
            if new.num_computed_tokens:
                index_A = self.builder.to_device(new.block_ids.astype(np.int64))
                for kv_cache in self.kv_caches:
                    AttentionBackend.clear_blocks(self.backend, kv_cache, index_A)  # some backends clear nothing


class FirstTokensLogits(TorchModelRunner):
    def _logits_index(self, rows: Any, num_padded: int, stretches: Any) -> torch.Tensor | slice:
        index = super()._logits_index(rows, num_padded, stretches)
        if isinstance(index, torch.Tensor):
            first_N = rows.query_start_N1[:-1][rows.samples_N].astype(np.int64)
            index[: len(first_N)] = torch.from_numpy(first_N)
        return index


class GenerousWorker(TorchWorker):
    def _determine_available_memory(self) -> int:
        return self.platform.memory_info(self.local_rank)[1]


class StingyWorker(TorchWorker):
    def _determine_available_memory(self) -> int:
        return super()._determine_available_memory() // 10


class EmptyHandedWorker(TorchWorker):
    def _determine_available_memory(self) -> int:
        return 0


class SleeplessWorker(TorchWorker):
    def _sleep(self, level: int) -> None:
        return WorkerBase._sleep(self, level)


class LosesWeights(TorchWorker):
    def _wake_up(self, tags: tuple[str, ...]) -> None:
        super()._wake_up(tags)
        empty(self.runner.model)


class LosesWeightsDeepAsleep(TorchWorker):
    level = 0

    def _sleep(self, level: int) -> None:
        super()._sleep(level)
        self.level = level

    def _wake_up(self, tags: tuple[str, ...]) -> None:
        super()._wake_up(tags)
        if self.level == 2:
            empty(self.runner.model)


@torch.inference_mode()
def empty(model: torch.nn.Module) -> None:
    """Every weight becomes zero."""
    for weight in model.parameters():
        weight.zero_()


class KeepsItsCache(DeviceLikeRunner):
    def free_kv_cache(self) -> None:
        pass

    def restore_kv_cache(self) -> None:
        if not self.kv_caches:
            super().restore_kv_cache()


class HurtByErrors(TorchModelRunner):
    def sample(self, *arguments: Any) -> Any:
        try:
            return super().sample(*arguments)
        except Exception:
            empty(self.model.layers[-1])
            raise


class CheapBlocksWorker(TorchWorker):
    def _kv_cache_groups(self) -> tuple[KVCacheGroup, ...]:
        groups = super()._kv_cache_groups()
        return tuple(
            replace(group, spec=replace(group.spec, bytes_per_block=group.spec.bytes_per_block // 2))
            for group in groups
        )


class HonestCapture(CapturedForward):
    """Records nothing and computes each step anew."""

    def capture(self, bucket_rows: int, input_ids_T: Any, positions_T: Any, kv_caches: Any, metadata: Any) -> None:
        pass

    def replay(
        self, bucket_rows: int, input_ids_T: Any, positions_T: Any, kv_caches: Any, metadata: Any
    ) -> torch.Tensor:
        return self.forward(input_ids_T, positions_T, kv_caches, metadata)


class StaleIds(HonestCapture):
    def replay(
        self, bucket_rows: int, input_ids_T: Any, positions_T: Any, kv_caches: Any, metadata: Any
    ) -> torch.Tensor:
        first: dict[int, torch.Tensor] = self.__dict__.setdefault("first", {})
        return self.forward(first.setdefault(bucket_rows, input_ids_T.clone()), positions_T, kv_caches, metadata)


class StaleLengths(HonestCapture):
    def replay(
        self, bucket_rows: int, input_ids_T: Any, positions_T: Any, kv_caches: Any, metadata: Any
    ) -> torch.Tensor:
        first: dict[int, Any] = self.__dict__.setdefault("first", {})
        return self.forward(input_ids_T, positions_T, kv_caches, first.setdefault(bucket_rows, metadata))
