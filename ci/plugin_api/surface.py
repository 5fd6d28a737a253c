"""Which modules of core are plugin-facing: the one list. What they name in `__all__` is under the lock."""

from __future__ import annotations

__all__ = ["SURFACE"]

SURFACE = (
    # what a plugin fills
    "vllm.platforms",
    "vllm.platforms.interface",
    "vllm.platforms.capabilities",
    "vllm.platforms.constraints",
    "vllm.worker.worker_base",
    "vllm.worker.model_runner_base",
    "vllm.worker.captured_forward",
    "vllm.attention.backends.abstract",
    "vllm.distributed.device_communicators.base_communicator",
    "vllm.executor.base",
    "vllm.engine.scheduler.interface",
    "vllm.sampling.logits_processors_interface",
    "vllm.engine.stat_logger",
    "vllm.model_executor.layers.quantization",
    # what it builds on
    "vllm.worker.torch_worker",
    "vllm.worker.torch_model_runner",
    "vllm.distributed.device_communicators.torch_communicator",
    "vllm.model_executor.custom_op",
    "vllm.model_executor.context",
    "vllm.model_executor.models.registry",
    "vllm.model_executor.routing",
    "vllm.model_executor.ops.activation",
    "vllm.model_executor.ops.linear",
    "vllm.model_executor.ops.moe",
    "vllm.model_executor.ops.norm",
    "vllm.model_executor.ops.quantised_linear",
    "vllm.model_executor.ops.rotary",
    "vllm.sampling.sampler",
    # what goes to and fro
    "vllm.messages",
    "vllm.worker.kv_cache_spec",
    "vllm.config",
    "vllm.config.cache",
    "vllm.config.load",
    "vllm.config.model",
    "vllm.config.parallel",
    "vllm.config.scheduler",
    "vllm.config.vllm",
    # how it is found, and what it raises
    "vllm.plugins",
    "vllm.plugins.groups",
    "vllm.plugins.probes",
    "vllm.errors",
    "vllm.deprecation",
    # how it is tested
    "vllm.testing",
)
