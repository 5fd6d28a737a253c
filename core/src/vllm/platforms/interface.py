"""The Platform contract: what the core asks a chip's plugin. The first file that a plugin author fills.

A platform's module must not import torch at module level, so that discovery and `vllm plugin list` stay fast: import it in the methods.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from vllm.platforms.capabilities import Capability, Feature
from vllm.platforms.constraints import SchedulingConstraints

if TYPE_CHECKING:
    import torch

    from vllm.config import VllmConfig
    from vllm.platforms.device_fault import DeviceFault

__all__ = ["Platform"]


class Platform(abc.ABC):
    """One kind of device. Instantiated once per process, without arguments; holds no state but caches.

    Five methods are mandatory; everything else has a default that fits a plain torch device.
    Unless said otherwise a method is called on the process's main thread, may block, and raises what it likes: the core adds the context.
    """

    name: ClassVar[str]
    """The entry-point name, e.g. "cpu_ref"; `VLLM_PLATFORM` selects by it."""
    device_type: ClassVar[str]
    """torch's device type: `torch.device(device_type, index)` must work after `load_backend`."""
    is_fallback: ClassVar[bool] = False
    """True: yields to any other platform that is usable."""
    dist_backend: ClassVar[str] = "gloo"
    """Backend name for torch.distributed process groups of this device."""
    device_control_env_var: ClassVar[str | None] = None
    """Environment variable that limits the devices a process sees; None if the vendor has none."""

    # -- mandatory ------------------------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def get_device_name(self, device_id: int = 0) -> str:
        """Human-readable name of the device, e.g. for logs."""

    @abc.abstractmethod
    def memory_info(self, device_id: int = 0) -> tuple[int, int]:
        """(free, total) memory of the device in bytes, as the engine may plan with it."""

    @abc.abstractmethod
    def supported_dtypes(self) -> tuple[str, ...]:
        """Names of the dtypes that a model can run in, best first: "bfloat16", "float16", "float32"."""

    @abc.abstractmethod
    def get_attn_backend_cls(self) -> str:
        """Dotted path of the AttentionBackend to use where the user names none."""

    @abc.abstractmethod
    def capabilities(self) -> Mapping[Feature, Capability]:
        """What optional features the device has. A feature left out counts as UNKNOWN, which the core treats as absent."""

    # -- configuration --------------------------------------------------------------------------------------------------------

    def check_and_update_config(self, config: VllmConfig) -> VllmConfig:
        """A copy of `config` that fits the device, or an error (ConfigError) that says what does not. The core logs every change."""
        return config

    def scheduling_constraints(self, config: VllmConfig) -> SchedulingConstraints:
        """What the scheduler and the batch builder must respect; default: nothing."""
        del config
        return SchedulingConstraints()

    def default_kv_cache_bytes(self, config: VllmConfig, available_bytes: int) -> int:
        """KV-cache size where the user gives none, of the `available_bytes` that profiling left. Default: all of it."""
        del config
        return available_bytes

    def capability(self, feature: Feature) -> Capability:
        """The capability of one feature, `UNKNOWN` where the platform does not say."""
        return self.capabilities().get(feature, Capability.unknown())

    def supported_quantization(self) -> tuple[str, ...] | None:
        """Quantisation methods that the device can run, by name ("compressed-tensors", …), where Feature.QUANTIZATION is usable.

        None, the default: every method, the core's own and what plugins register.
        """
        return None

    # -- classes that fill the other contracts: dotted paths ------------------------------------------------------------------

    def get_worker_cls(self) -> str:
        """Dotted path of the WorkerBase subclass; default: the device-neutral torch worker."""
        return "vllm.worker.torch_worker.TorchWorker"

    def get_model_runner_cls(self) -> str:
        """Dotted path of the ModelRunnerBase subclass that the torch worker creates."""
        return "vllm.worker.torch_model_runner.TorchModelRunner"

    def get_communicator_cls(self) -> str:
        """Dotted path of the CommunicatorBase subclass; default: torch.distributed with `dist_backend`."""
        return "vllm.distributed.device_communicators.torch_communicator.TorchCommunicator"

    def get_captured_forward_cls(self) -> str | None:
        """Dotted path of a CapturedForward (graph capture or compiled static shapes); None = eager only."""
        return None

    def op_overrides(self) -> Mapping[str, str]:
        """Op name → dotted path of the class that replaces it, a subclass of the native op of that name. No patching."""
        return {}

    # -- the device -----------------------------------------------------------------------------------------------------------

    def load_backend(self) -> None:
        """Make torch know the device: import the vendor's torch extension. Called once per process, right after torch's import."""

    def import_kernels(self) -> None:
        """Load custom kernels. Called once per worker, after `load_backend`."""

    def device_count(self) -> int:
        """Devices this process can use; a tensor-parallel size above it is refused before workers start."""
        return 1

    def set_device(self, device: torch.device) -> None:
        """Make `device` current in this process."""

    def init_worker_process(self, config: VllmConfig, local_rank: int) -> None:
        """First call in a worker, before torch allocates: threads, affinity, vendor environment."""

    def synchronize(self) -> None:
        """Block until all work queued on the current device is done; default: the device is synchronous."""

    def empty_cache(self) -> None:
        """Give unused memory of the allocator back; default: nothing to give."""

    def peak_memory_bytes(self) -> int | None:
        """Most bytes allocated since `reset_peak_memory`; None where the device cannot tell (then memory_info is compared)."""
        return None

    def reset_peak_memory(self) -> None:
        """Start a new peak measurement."""

    def is_pin_memory_available(self) -> bool:
        """Whether host tensors for copies to the device should be pinned."""
        return False

    def device_fault(self, error: Exception) -> DeviceFault | None:
        """What an error that came out of a step says about the device; None, the default: it is not the device's, and passes as it is.

        Asked of errors that are no lack of memory. Called right after the error, when the device may be unable to answer.
        """
        del error
        return None

    def survives(self, error: Exception) -> bool:
        """Whether an error that came out of a step costs no more than that step.

        Weights, allocator and streams are as before then, nothing that was launched is still at work, and the worker can take a plan that
        starts anew; what the requests held counts no more. Not asked about memory that ran out, nor where `device_fault` speaks. Default:
        as `Feature.STEP_RECOVERY` is declared, which is for every error. False: the engine stops.
        """
        del error
        return self.capability(Feature.STEP_RECOVERY).is_usable

    def random_seed(self, seed: int) -> None:
        """Seed the device's own generators (dummy weights only; sampling is counter-based and needs none)."""
        del seed

    # -- reports --------------------------------------------------------------------------------------------------------------

    def usage_label(self) -> str:
        """Word before "KV cache usage" in the statistics line."""
        return self.device_type.upper()

    def doctor(self) -> Mapping[str, Any]:
        """Vendor checks for `vllm plugin doctor`: what was looked for → what was found (driver, firmware, libraries).

        Asked where `register` called the platform usable; elsewhere the `probes` of its Unavailable are shown. Imports no torch.
        """
        return {}
