"""Sleep mode: a capability of the platform, and the worker's `_sleep` and `_wake_up`, where a device's allocator gives memory back."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from core.tests.extension_points.engines import example_engine, generated, plain_tokens
from vllm.errors import ConfigError
from vllm.platforms import Capability, Feature
from vllm.worker.kv_cache_memory import allocate_kv_caches
from vllm.worker.kv_cache_spec import KVCacheConfig
from vllm.worker.torch_model_runner import TorchModelRunner
from vllm.worker.torch_worker import TorchWorker
from vllm_cpu_ref.platform import CpuRefPlatform


class SleepyWorker(TorchWorker):
    """Level 1: the weights move to the host, where they are anyway here; the cache is freed."""

    runner: TorchModelRunner

    def _initialize_kv_cache(self, kv_cache_config: KVCacheConfig) -> None:
        super()._initialize_kv_cache(kv_cache_config)
        self._cache_config = kv_cache_config

    def _sleep(self, level: int) -> None:
        if level != 1:
            raise ConfigError(f"sleep level {level} is not supported, only 1")
        self._weights = {name: weight.data for name, weight in self.runner.model.named_parameters()}
        for weight in self.runner.model.parameters():
            weight.data = torch.empty(0, dtype=weight.dtype)
        self.runner.kv_caches.clear()

    def _wake_up(self, tags: tuple[str, ...]) -> None:
        for name, weight in self.runner.model.named_parameters():
            weight.data = self._weights[name]
        self.runner.kv_caches[:] = allocate_kv_caches(self._cache_config, self.runner.backend, self.device)


class SleepyPlatform(CpuRefPlatform):
    def get_worker_cls(self) -> str:
        return f"{__name__}.SleepyWorker"

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {**super().capabilities(), Feature.SLEEP_MODE: Capability.partial("level 1 only")}


def held_bytes(worker: SleepyWorker) -> int:
    caches = [tensor for layer in worker.runner.kv_caches for tensor in layer]
    return sum(tensor.nbytes for tensor in [*caches, *(weight.data for weight in worker.runner.model.parameters())])


def test_memory_goes_and_comes_back_and_the_tokens_stay() -> None:
    with example_engine(SleepyPlatform) as engine:
        assert generated(engine) == plain_tokens()
        engine.sleep(1)
        assert engine.collective_rpc(held_bytes) == [0]
        engine.wake_up()
        assert engine.collective_rpc(held_bytes)[0] > 2**23
        assert generated(engine) == plain_tokens()


def test_a_platform_without_it_says_why() -> None:
    with example_engine() as engine, pytest.raises(ConfigError, match=r"sleep asks for sleep mode, which .* cannot do"):
        engine.sleep(1)
