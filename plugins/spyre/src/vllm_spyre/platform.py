"""The platform: what the card can do, what it asks of scheduler and batch builder, and what its software must be told. No torch here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from vllm import envs
from vllm.errors import ConfigError, WorkerError
from vllm.logger import init_logger
from vllm.platforms import Capability, Feature, Platform
from vllm_spyre import buckets
from vllm_spyre.settings import BLOCK_TOKENS, Settings, prepare_vendor_environment, warn_of_variables

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vllm.config import VllmConfig
    from vllm.platforms import SchedulingConstraints

__all__ = ["SpyrePlatform"]

logger = init_logger(__name__)

CARD_MEMORY_BYTES = 128 * 2**30
"""LPDDR5 of one card (IBM's product page)."""
CPU_CACHE_BYTES = 4 * 2**30
_ROUTING = "experts are chosen while the step runs; the op of fixed shape, every expert for every token, is not written"


class SpyrePlatform(Platform):
    """One Spyre card per rank. Tensors live on the host as far as torch knows: the compiled code moves them."""

    name = "spyre"
    device_type = "cpu"
    dist_backend = "gloo"
    device_control_env_var = "SPYRE_DEVICES"

    # -- mandatory ------------------------------------------------------------------------------------------------------------

    def get_device_name(self, device_id: int = 0) -> str:
        """The card, or what stands in for it."""
        settings = Settings.read()
        return "IBM Spyre" if settings.runs_on_card else f"no card: torch.compile backend {settings.backend} on the CPU"

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        """(free, total) bytes. The card's software tells neither: its memory is what is printed on it, less this process's."""
        import psutil

        memory = psutil.virtual_memory()
        if not Settings.read().runs_on_card:
            return memory.available, memory.total
        return max(0, CARD_MEMORY_BYTES - psutil.Process().memory_info().rss), CARD_MEMORY_BYTES

    def supported_dtypes(self) -> tuple[str, ...]:
        """The card computes in fp16."""
        return ("float16",) if Settings.read().runs_on_card else ("bfloat16", "float32")

    def get_attn_backend_cls(self) -> str:
        """Attention over left-padded block tables."""
        return "vllm_spyre.attention.SpyreAttention"

    def capabilities(self) -> Mapping[Feature, Capability]:
        """The host samples, so all that happens to logits works."""
        full = (
            *(Feature.CHUNKED_PREFILL, Feature.PREFIX_CACHING, Feature.SLIDING_WINDOW, Feature.LOGITS_SOFT_CAP),
            *(Feature.STRUCTURED_OUTPUT, Feature.CUSTOM_LOGITS_PROCESSORS, Feature.ASYNC_SCHEDULING),
        )
        several_tokens = "decode steps are compiled for one token per row, and verifying drafts takes several"
        fp32 = Capability.unsupported("the card computes in fp16")
        no_promise = Capability.unsupported("the card's software does not say in what state an error leaves the card")
        limits = {
            Feature.FLOAT32: fp32 if Settings.read().runs_on_card else Capability.full(),
            Feature.GRAPH_CAPTURE: Capability.unsupported("every step is compiled before the first request instead"),
            Feature.TENSOR_PARALLEL: Capability.partial("proven on CPU backends; no card's compiler has seen it yet"),
            Feature.SPECULATIVE_DECODING: Capability.unsupported(several_tokens),
            Feature.LORA: Capability.unsupported("an adapter per row would need a compiled step per combination"),
            Feature.MIXTURE_OF_EXPERTS: Capability.not_yet(_ROUTING),
            Feature.QUANTIZATION: Capability.not_yet("the card's quantised matrix products have no op here yet"),
            Feature.QUANTIZED_KV_CACHE: Capability.not_yet("the cache is kept in the model's dtype"),
            Feature.POOLING: Capability.not_yet("its static shapes wait for the core's pooling"),
            Feature.SLEEP_MODE: Capability.unsupported("the card's software does not give memory back"),
            Feature.KV_TRANSFER: Capability.unsupported("the card's software hands no cache out"),
            Feature.STEP_RECOVERY: no_promise if Settings.read().runs_on_card else Capability.full(),
        }
        return {**dict.fromkeys(full, Capability.full()), **limits}

    def survives(self, error: Exception) -> bool:
        """As declared, but for what the card would refuse: a shape that was not compiled, or a broken rule, is no request's fault."""
        return super().survives(error) and not isinstance(error, WorkerError)

    # -- configuration --------------------------------------------------------------------------------------------------------

    def check_and_update_config(self, config: VllmConfig) -> VllmConfig:
        """Blocks have one size."""
        warn_of_variables()
        if config.cache_config.block_size != BLOCK_TOKENS:
            raise ConfigError(
                f"block_size (--block-size) is {config.cache_config.block_size}, but Spyre's cache has blocks of {BLOCK_TOKENS} tokens.",
                remedy="leave --block-size out",
            )
        return config

    def scheduling_constraints(self, config: VllmConfig) -> SchedulingConstraints:
        """See `vllm_spyre.buckets`."""
        return buckets.constraints(config, Settings.read())

    def default_kv_cache_bytes(self, config: VllmConfig, available_bytes: int) -> int:
        """Whole GiB: a later start then has a cache of the same size, and finds what was compiled for it. On a CPU a few."""
        wanted_gib = envs.VLLM_CPU_KVCACHE_SPACE
        if Settings.read().runs_on_card:
            most_bytes = available_bytes
        else:
            most_bytes = min(available_bytes, CPU_CACHE_BYTES if wanted_gib is None else int(wanted_gib * 2**30))
        return most_bytes // 2**30 * 2**30 or most_bytes

    # -- classes --------------------------------------------------------------------------------------------------------------

    def get_worker_cls(self) -> str:
        """The core's, which tells the backend when it ends."""
        return "vllm_spyre.worker.SpyreWorker"

    def get_model_runner_cls(self) -> str:
        """Fixed shapes, compiled before the first request."""
        return "vllm_spyre.runner.SpyreModelRunner"

    # -- the device -----------------------------------------------------------------------------------------------------------

    def device_count(self) -> int:
        """Cards handed to this container, by the runtime's own word or by their device nodes; ranks on a CPU share its cores."""
        if not Settings.read().runs_on_card:
            return os.cpu_count() or 1
        world_size = os.environ.get("AIU_WORLD_SIZE", "")
        return int(world_size) if world_size.isdecimal() else max(1, len(list(Path("/dev/vfio").glob("[0-9]*"))))

    def init_worker_process(self, config: VllmConfig, local_rank: int) -> None:
        """What must be known before torch compiles, and before the vendor's software is imported."""
        import torch

        settings = Settings.read()
        if settings.num_cpus is not None:
            torch.set_num_threads(max(1, settings.num_cpus // config.parallel_config.world_size))
        if settings.runs_on_card:
            prepare_vendor_environment(
                settings,
                max_num_seqs=config.scheduler_config.max_num_seqs,
                max_model_len=config.model_config.max_model_len,
            )
        if settings.backend == "inductor":  # where a later start finds what this one has compiled
            os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(envs.VLLM_CACHE_ROOT / "spyre" / "inductor"))

    def random_seed(self, seed: int) -> None:
        """Only dummy weights draw from torch's generator."""
        import torch

        torch.manual_seed(seed)

    # -- reports --------------------------------------------------------------------------------------------------------------

    def usage_label(self) -> str:
        """Word before "KV cache usage" in the statistics line."""
        return "SPYRE"

    def doctor(self) -> Mapping[str, str]:
        """For `vllm plugin doctor`."""
        settings = Settings.read()
        return {"device": self.get_device_name(), "torch.compile backend": settings.backend}
