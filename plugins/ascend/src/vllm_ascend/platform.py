"""The platform: what an NPU is and can, for the core to plan with. No torch at module level: discovery imports this file."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from vllm.errors import ConfigError, PluginError
from vllm.platforms import Capability, Feature, Platform, SchedulingConstraints
from vllm.plugins import Probes
from vllm_ascend import cann
from vllm_ascend.checkup import check_usable

if TYPE_CHECKING:
    from collections.abc import Mapping

    import torch

    from vllm.config import VllmConfig
    from vllm.platforms import DeviceFault

__all__ = ["AscendPlatform"]

BLOCK_SIZE = 128
"""Tokens. The attention operator takes up to 128 in the layout used here, for every head size a whole multiple of 128."""
LARGEST_GRAPH_ROWS = 256
"""Larger decode steps are long enough to hide their launches."""
GRAPH_BYTES = 32 * 2**20
"""Room that is left for each graph, which is recorded when the cache is there; what they took stands in the log."""


class AscendPlatform(Platform):
    """NPUs of the Atlas A2 and A3 series through torch_npu."""

    name = "ascend"
    device_type = "npu"
    dist_backend = "hccl"
    device_control_env_var = "ASCEND_RT_VISIBLE_DEVICES"

    # -- what it can ------------------------------------------------------------------------------------------------------------

    def supported_dtypes(self) -> tuple[str, ...]:
        """No float32: the attention operator takes 16 bits only."""
        return ("bfloat16", "float16")

    def capabilities(self) -> Mapping[Feature, Capability]:
        """What is left out is not there."""
        full = (
            *(Feature.CHUNKED_PREFILL, Feature.PREFIX_CACHING, Feature.TENSOR_PARALLEL, Feature.SLIDING_WINDOW),
            *(Feature.GRAPH_CAPTURE, Feature.ASYNC_SCHEDULING, Feature.SLEEP_MODE),
            *(Feature.QUANTIZATION, Feature.MIXTURE_OF_EXPERTS),
            *(Feature.STRUCTURED_OUTPUT, Feature.CUSTOM_LOGITS_PROCESSORS),
        )
        return {
            **dict.fromkeys(full, Capability.full()),
            Feature.LOGITS_SOFT_CAP: Capability.unsupported("npu_fused_infer_attention_score has no soft cap"),
            Feature.STEP_RECOVERY: Capability.unsupported(
                "an operator's error comes out at a later call, when what else was launched may still be at work"
            ),
            Feature.FLOAT32: Capability.unsupported(
                "npu_fused_infer_attention_score takes queries, keys and values of 16 bits only"
            ),
        }

    def scheduling_constraints(self, config: VllmConfig) -> SchedulingConstraints:
        """Blocks of the attention operator's size; any number of rows and tokens."""
        return SchedulingConstraints(block_size_multiple=BLOCK_SIZE, default_block_size=BLOCK_SIZE)

    def check_and_update_config(self, config: VllmConfig) -> VllmConfig:
        """Blocks of 128; decode steps captured for powers of two where the user names no sizes."""
        size = config.cache_config.block_size
        if size != BLOCK_SIZE:
            raise ConfigError(
                f"--block-size is {size}, but the NPU's attention operator reads blocks of {BLOCK_SIZE} tokens.",
                remedy=f"leave --block-size out, or give {BLOCK_SIZE}",
            )
        if config.model_config.enforce_eager or config.compilation_config.capture_sizes:
            return config
        sizes = _graph_sizes(config.scheduler_config.max_num_seqs)
        reason = "decode steps are replayed from graphs of so many rows; --enforce-eager turns them off"
        return config.with_changes(reason, compilation_config={"capture_sizes": sizes})

    def default_kv_cache_bytes(self, config: VllmConfig, available_bytes: int) -> int:
        """All but the room for graphs."""
        graphs = 0 if config.model_config.enforce_eager else len(config.compilation_config.capture_sizes)
        return available_bytes - min(graphs * GRAPH_BYTES, available_bytes // 8)

    def get_attn_backend_cls(self) -> str:
        return "vllm_ascend.attention.FusedAttention"

    def get_communicator_cls(self) -> str:
        return "vllm_ascend.communicator.NPUCommunicator"

    def get_captured_forward_cls(self) -> str:
        return "vllm_ascend.graph.AclGraphForward"

    def op_overrides(self) -> Mapping[str, str]:
        """Truncation stays native: npu_top_k_top_p decides between equal logits by a sort, where the core's law lets them share their fate.

        So do the plain linear maps, whose weights these chips read as they are; only integer weights gain by the NZ format.
        """
        return {
            "rms_norm": "vllm_ascend.ops.FusedRMSNorm",
            "silu_and_mul": "vllm_ascend.ops.FusedSiluAndMul",
            "gelu_and_mul": "vllm_ascend.ops.NamedGeluAndMul",
            "gelu_tanh_and_mul": "vllm_ascend.ops.NamedGeluTanhAndMul",
            "rotary_embedding": "vllm_ascend.ops.FusedRotaryEmbedding",
            "fused_moe": "vllm_ascend.experts.GroupedExperts",
            "w8a8_int8_linear": "vllm_ascend.quantised.QuantMatmulLinear",
        }

    # -- the device -------------------------------------------------------------------------------------------------------------

    def load_backend(self) -> None:
        """torch_npu's import makes torch know "npu"."""
        try:
            import torch_npu  # noqa: F401
        except (ImportError, OSError, RuntimeError) as error:
            raise PluginError(
                f"torch_npu cannot be imported: {error}",
                cause="libraries of CANN that its runtime alone does not need are missing or of another version",
                remedy="source CANN's set_env.sh in this shell, and compare the versions that `vllm plugin doctor` shows",
            ) from error

    def init_worker_process(self, config: VllmConfig, local_rank: int) -> None:
        """Time-outs: a collective ends on the device, with an error that names it, before the process group gives up. The user's count.

        Formats: integer weights may be kept in NZ, but for models that sleep: torch_npu cannot shrink a storage in NZ.
        """
        import torch_npu

        timeout_s = config.parallel_config.distributed_timeout_s
        os.environ.setdefault("HCCL_EXEC_TIMEOUT", str(max(1, int(0.9 * timeout_s))))
        os.environ.setdefault("HCCL_CONNECT_TIMEOUT", str(min(max(120, int(timeout_s)), 7200)))
        torch_npu.npu.config.allow_internal_format = not config.model_config.enable_sleep_mode

    def get_device_name(self, device_id: int = 0) -> str:
        import torch_npu

        name: str = torch_npu.npu.get_device_name(device_id)
        return name

    def device_count(self) -> int:
        """Asked of CANN's runtime: no device is touched."""
        return cann.device_count(cann.load_runtime())[0]

    def set_device(self, device: torch.device) -> None:
        import torch_npu

        torch_npu.npu.set_device(device)

    def synchronize(self) -> None:
        import torch_npu

        torch_npu.npu.synchronize()

    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        """As the driver counts: all processes, the allocator's reserve included."""
        import torch_npu

        free_bytes, total_bytes = torch_npu.npu.mem_get_info(device_id)
        return int(free_bytes), int(total_bytes)

    def empty_cache(self) -> None:
        import torch_npu

        torch_npu.npu.empty_cache()

    def peak_memory_bytes(self) -> int:
        import torch_npu

        return int(torch_npu.npu.max_memory_allocated())

    def reset_peak_memory(self) -> None:
        import torch_npu

        torch_npu.npu.reset_peak_memory_stats()

    def is_pin_memory_available(self) -> bool:
        return True

    def random_seed(self, seed: int) -> None:
        import torch_npu

        torch_npu.npu.manual_seed_all(seed)

    def device_fault(self, error: Exception) -> DeviceFault | None:
        from vllm_ascend.faults import fault_of

        return fault_of(error, self._current_device(), self._last_words)

    # -- reports ----------------------------------------------------------------------------------------------------------------

    def _current_device(self) -> str:
        """For messages; what is asked here is known to torch_npu already, so that a device that is lost need not answer."""
        import torch_npu

        index = torch_npu.npu.current_device()
        return f"npu:{index} ({self.get_device_name(index)})"

    def _last_words(self) -> str:
        """What a failed device answers to a synchronisation; it fails at once, because the stream that it would wait for has ended."""
        try:
            self.synchronize()
        except RuntimeError as error:
            return str(error)
        return ""

    def usage_label(self) -> str:
        return "NPU"

    def doctor(self) -> Mapping[str, str]:
        """What `register` looked at."""
        probes = Probes()
        check_usable(probes)
        return probes.findings


def _graph_sizes(most_rows: int) -> tuple[int, ...]:
    """1, 2, 4 … and the largest decode step itself: padding at most doubles a step, and each graph costs memory and streams."""
    largest = min(most_rows, LARGEST_GRAPH_ROWS)
    return (*(2**power for power in range(largest.bit_length()) if 2**power < largest), largest)
