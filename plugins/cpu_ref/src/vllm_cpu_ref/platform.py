"""The platform: who this device is, what it can do, and how much memory the engine may plan with.

Read this file first when you bring up a chip of your own. A platform answers questions; it never runs the model. Five methods are
mandatory, the rest below is what a CPU wants different from the defaults. No torch at module level: discovery imports this file.
"""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from vllm import envs
from vllm.platforms import Capability, Feature, Platform
from vllm_cpu_ref.native import OPS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vllm.config import VllmConfig

__all__ = ["CpuRefPlatform"]

DEFAULT_KV_CACHE_BYTES = 4 * 2**30
DEFAULT_KV_CACHE_SHARE = 0.4
"""Of the memory that is free: other programs live on this machine too."""


class CpuRefPlatform(Platform):
    """Any CPU that torch runs on."""

    name = "cpu_ref"  # the entry point's name
    device_type = "cpu"  # torch.device("cpu") is known without any backend to load
    is_fallback = True  # yields to every accelerator that is usable
    dist_backend = "gloo"

    # -- mandatory ------------------------------------------------------------------------------------------------------------

    def get_device_name(self, device_id: int = 0) -> str:
        """For logs."""
        return platform.processor() or platform.machine() or "CPU"

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        """(free, total) bytes. Free is what the system could hand out now, its caches included."""
        import psutil

        memory = psutil.virtual_memory()
        return memory.available, memory.total

    def supported_dtypes(self) -> tuple[str, ...]:
        """Best first: torch computes all three, bfloat16 fastest where the CPU has instructions for it."""
        return ("bfloat16", "float16", "float32")

    def get_attn_backend_cls(self) -> str:
        """With a kernel where it is compiled in, else the one beside this file."""
        return "vllm_cpu_ref.native.attention.NativePagedAttention"

    def capabilities(self) -> Mapping[Feature, Capability]:
        """What is left out here counts as absent, with a sentence that the user sees; so say why."""
        full = (
            *(Feature.CHUNKED_PREFILL, Feature.PREFIX_CACHING, Feature.TENSOR_PARALLEL, Feature.SLIDING_WINDOW),
            *(Feature.LOGITS_SOFT_CAP, Feature.STRUCTURED_OUTPUT, Feature.CUSTOM_LOGITS_PROCESSORS),
            Feature.MIXTURE_OF_EXPERTS,
            Feature.QUANTIZATION,
            Feature.STEP_RECOVERY,  # torch on a CPU raises before or after it computes: an error leaves nothing half done but the step
        )
        missing = {
            Feature.GRAPH_CAPTURE: Capability.unsupported("a CPU has no launch cost that a recorded graph would save"),
            Feature.ASYNC_SCHEDULING: Capability.partial(
                "the CPU that plans is the CPU that computes: correct, but not faster"
            ),
            Feature.SLEEP_MODE: Capability.unsupported(
                "device memory is host memory here, there is nowhere to move to"
            ),
        }
        return {**dict.fromkeys(full, Capability.full()), **missing}

    # -- what a CPU wants different from the defaults ---------------------------------------------------------------------------

    def default_kv_cache_bytes(self, config: VllmConfig, available_bytes: int) -> int:
        """Cache size where the user gives none: never so much that the machine goes down."""
        if envs.VLLM_CPU_KVCACHE_SPACE is not None:
            return int(envs.VLLM_CPU_KVCACHE_SPACE * 2**30)
        free_bytes, _ = self.memory_info()
        share = DEFAULT_KV_CACHE_SHARE / config.parallel_config.world_size  # all ranks share this machine's memory
        return min(available_bytes, DEFAULT_KV_CACHE_BYTES, int(free_bytes * share))

    def op_overrides(self) -> Mapping[str, str]:
        """Where there is a better kernel for a CPU than the core's definition of an op, which runs anywhere."""
        return OPS

    def device_count(self) -> int:
        """Ranks that make sense here: one per core. More would only take turns."""
        return _usable_cores()

    def init_worker_process(self, config: VllmConfig, local_rank: int) -> None:
        """First call in a worker: freed memory is kept; the ranks share the cores evenly, unless the user has said how many threads."""
        import torch

        from vllm_cpu_ref.native.memory import keep_freed_memory

        keep_freed_memory()
        if "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(max(1, _usable_cores() // config.parallel_config.world_size))

    def random_seed(self, seed: int) -> None:
        """Only dummy weights draw from the device's generator."""
        import torch

        torch.manual_seed(seed)

    def doctor(self) -> Mapping[str, str]:
        """For `vllm plugin doctor`: what the model would run on."""
        free_bytes, total_bytes = self.memory_info()
        return {
            "processor": self.get_device_name(),
            "cores": f"{_usable_cores()} usable of {os.cpu_count()}",
            "memory": f"{free_bytes / 2**30:.1f} GiB free of {total_bytes / 2**30:.1f} GiB",
        }


def _usable_cores() -> int:
    """Cores that this process may run on, which in a container are fewer than the machine's."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
