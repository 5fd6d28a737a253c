"""Owns the device-neutral worker: one rank's device, process group and model runner. Everything particular comes from the platform."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from vllm.distributed.parallel_state import join_tensor_parallel
from vllm.logger import init_logger
from vllm.platforms.selection import load_platform
from vllm.plugins.dotted import load_subclass
from vllm.worker import kv_cache_memory
from vllm.worker.model_runner_base import ModelRunnerBase
from vllm.worker.sleep_mode import Sleep
from vllm.worker.worker_base import WorkerBase

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.distributed.device_communicators.base_communicator import CommunicatorBase
    from vllm.messages import Int32Array, StepOutput, StepPlan
    from vllm.worker.kv_cache_spec import KVCacheConfig, KVCacheGroup

__all__ = ["TorchWorker"]

logger = init_logger(__name__)


class TorchWorker(WorkerBase):
    """Any device that torch knows. A plugin subclasses it only where a stage really differs."""

    runner: ModelRunnerBase[Any]
    device: torch.device

    def __init__(self, config: VllmConfig, *, rank: int, local_rank: int, init_method: str) -> None:
        super().__init__(config, rank=rank, local_rank=local_rank, init_method=init_method)
        self.platform = load_platform(config.platform)
        self._step_in_progress: tuple[torch.Tensor, Any] | None = None
        self.tp: CommunicatorBase | None = None
        self._sleeping: Sleep | None = None

    def _init_device(self) -> None:
        self.device = self._choose_device()
        self.platform.set_device(self.device)
        self.platform.random_seed(self.config.model_config.seed)
        logger.info("Worker %d runs on %s (%s)", self.rank, self.device, self.platform.get_device_name(self.local_rank))
        self.tp = self._join_ranks()
        self.runner = self._create_runner()

    def _load_model(self) -> None:
        self.runner.load_model()

    def _kv_cache_groups(self) -> tuple[KVCacheGroup, ...]:
        return self.runner.kv_cache_groups()

    def _determine_available_memory(self) -> int:
        groups = self.runner.kv_cache_groups()
        return kv_cache_memory.available_bytes(
            self.config, self.platform, self.local_rank, groups, self.runner.profile_run
        )

    def _initialize_kv_cache(self, kv_cache_config: KVCacheConfig) -> None:
        self.runner.initialize_kv_cache(kv_cache_config)

    def _warm_up(self) -> None:
        self.runner.warm_up()

    def _execute(self, plan: StepPlan) -> None:
        inputs = self.runner.prepare_inputs(plan)
        self._step_in_progress = self.runner.forward(inputs), inputs

    def _sample(self, grammar_mask_GW: Int32Array | None) -> StepOutput:
        assert self._step_in_progress is not None, "sample without execute"
        hidden_NH, inputs = self._step_in_progress
        self._step_in_progress = None
        return self.runner.sample(hidden_NH, inputs, grammar_mask_GW)

    def _sleep(self, level: int) -> None:
        if self._sleeping is None:
            self._sleeping = Sleep(self.runner, self.platform, level)

    def _wake_up(self, tags: tuple[str, ...]) -> None:
        if self._sleeping is not None:
            self._sleeping.wake_up(tags)
            self._sleeping = None if self._sleeping.is_over else self._sleeping

    def _model(self) -> Any:
        return self.runner.model

    def _shutdown(self) -> None:
        if self.tp is not None:
            self.tp.destroy()

    def _choose_device(self) -> torch.device:
        """The rank's own device; the host itself has no index."""
        if self.platform.device_type == "cpu":
            return torch.device("cpu")
        return torch.device(self.platform.device_type, self.local_rank)

    def _join_ranks(self) -> CommunicatorBase:
        """The tensor-parallel group."""
        return join_tensor_parallel(
            self.config, self.platform, rank=self.rank, device=self.device, init_method=self.init_method
        )

    def _create_runner(self) -> ModelRunnerBase[Any]:
        path = self.platform.get_model_runner_cls()
        option = f"{type(self.platform).__name__}.get_model_runner_cls()"
        runner_cls: Any = load_subclass(path, ModelRunnerBase, option=option)
        return runner_cls(self.config, self.platform, self.device, self.tp)
