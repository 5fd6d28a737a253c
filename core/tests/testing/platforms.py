"""Owns platforms for tests of the conformance kit: a sound one on the host with the dense oracle as attention, and broken ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vllm.platforms import Capability, Feature, Platform
from vllm.platforms.constraints import SchedulingConstraints

if TYPE_CHECKING:
    from vllm.config import VllmConfig

WHY_NO_WINDOW = "its windows are painted on"


class SoundPlatform(Platform):
    """Keeps every law that the tests run on it."""

    name = "sound"
    device_type = "cpu"

    def get_device_name(self, device_id: int = 0) -> str:
        return "host"

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        import psutil

        memory = psutil.virtual_memory()
        return memory.available, memory.total

    def supported_dtypes(self) -> tuple[str, ...]:
        return ("float32", "bfloat16")

    def get_attn_backend_cls(self) -> str:
        return "vllm.testing.dense_attention.DenseAttention"

    def capabilities(self) -> Mapping[Feature, Capability]:
        full = Capability.full()
        return {
            Feature.CHUNKED_PREFILL: full,
            Feature.SLIDING_WINDOW: full,
            Feature.LOGITS_SOFT_CAP: full,
            Feature.QUANTIZATION: full,
            Feature.MIXTURE_OF_EXPERTS: full,
            Feature.TENSOR_PARALLEL: Capability.unsupported("it is alone"),
            Feature.GRAPH_CAPTURE: Capability.not_yet("nobody wrote it"),
        }

    def default_kv_cache_bytes(self, config: VllmConfig, available_bytes: int) -> int:
        return min(available_bytes, 2**26)

    def random_seed(self, seed: int) -> None:
        import torch

        torch.manual_seed(seed)


class WindowlessPlatform(SoundPlatform):
    """Declines a feature, with a reason."""

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {**super().capabilities(), Feature.SLIDING_WINDOW: Capability.unsupported(WHY_NO_WINDOW)}


class CaplessPlatform(SoundPlatform):
    """Declines what its attention backend does."""

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {**super().capabilities(), Feature.LOGITS_SOFT_CAP: Capability.unsupported("its hat is at home")}


class SilentPlatform(SoundPlatform):
    """Does not say whether it has windows."""

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {f: answer for f, answer in super().capabilities().items() if f is not Feature.SLIDING_WINDOW}


class MisscaledPlatform(SoundPlatform):
    """Its attention ignores the layer's scale."""

    def get_attn_backend_cls(self) -> str:
        return "core.tests.testing.broken_parts.MisscaledAttention"


class KibibytesPlatform(SoundPlatform):
    """Its peak is right, its free memory in another unit."""

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        free, total = super().memory_info(device_id)
        return free // 1024, total

    def peak_memory_bytes(self) -> int:
        import psutil

        return int(psutil.Process().memory_info().rss)


class RaisingPlatform(SoundPlatform):
    """One method of it raises."""

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        raise OSError("the driver does not answer")


class SpeechlessPlatform(SoundPlatform):
    """Cannot even say its dtypes."""

    def supported_dtypes(self) -> tuple[str, ...]:
        raise OSError("the driver does not answer")


class MisnamedOpsPlatform(SoundPlatform):
    """Its norm forgets eps."""

    def op_overrides(self) -> Mapping[str, str]:
        return {"rms_norm": "core.tests.testing.broken_parts.NormWithoutEps"}


class MeddlingPlatform(SoundPlatform):
    """Writes into a mapping of the configuration that it was given."""

    def check_and_update_config(self, config: VllmConfig) -> VllmConfig:
        config.additional_config["calls"] = config.additional_config.get("calls", 0) + 1
        return config


class SmallBlocksPlatform(SoundPlatform):
    """Its blocks hold four tokens."""

    def scheduling_constraints(self, config: VllmConfig) -> SchedulingConstraints:
        return SchedulingConstraints(default_block_size=4, block_size_multiple=4)


class LargeBlocksPlatform(SoundPlatform):
    """Its blocks hold 256 tokens."""

    def scheduling_constraints(self, config: VllmConfig) -> SchedulingConstraints:
        return SchedulingConstraints(default_block_size=256, block_size_multiple=256)


class LonelyPlatform(SoundPlatform):
    """One of its two ranks never comes back from an all-reduce."""

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {**super().capabilities(), Feature.TENSOR_PARALLEL: Capability.full()}

    def device_count(self) -> int:
        return 2

    def get_communicator_cls(self) -> str:
        return "core.tests.testing.broken_parts.LonelyCommunicator"


class SoloPlatform(LonelyPlatform):
    """Claims tensor parallelism, on a machine with one device."""

    def device_count(self) -> int:
        return 1


class ShyPlatform(LonelyPlatform):
    """One of its ranks never meets the other."""

    def get_communicator_cls(self) -> str:
        return "core.tests.testing.broken_parts.ShyCommunicator"


class ColdPlatform(LonelyPlatform):
    """One of its ranks never gets warm."""

    def get_worker_cls(self) -> str:
        return "core.tests.testing.broken_parts.ColdWorker"

    def get_communicator_cls(self) -> str:
        return "vllm.distributed.device_communicators.torch_communicator.TorchCommunicator"


class SixteenBitsPlatform(SoundPlatform):
    """Leaves float32 out and does not say why."""

    def supported_dtypes(self) -> tuple[str, ...]:
        return ("bfloat16",)


class ExplainedSixteenBitsPlatform(SixteenBitsPlatform):
    """Says why."""

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {**super().capabilities(), Feature.FLOAT32: Capability.unsupported("its lanes are 16 bits wide")}


class DrowsyPlatform(SoundPlatform):
    """Its worker sleeps at level 1 only, which it says."""

    def capabilities(self) -> Mapping[Feature, Capability]:
        return {**super().capabilities(), Feature.SLEEP_MODE: Capability.partial("level 1 only")}

    def get_worker_cls(self) -> str:
        return "core.tests.testing.broken_parts.DrowsyWorker"


class OldSignaturePlatform(SoundPlatform):
    """Written against another contract."""

    def set_device(self) -> None:  # type: ignore[override]
        """Takes no device."""

    def doctor(self) -> Mapping[str, Any]:
        import torch

        return {"torch": torch.__version__}
