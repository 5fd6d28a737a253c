"""Owns what a mutant is: cpu_ref with exactly one fault. Its docstring says which, `caught_by` who must notice. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from vllm.platforms import Capability, Feature, Platform
from vllm_cpu_ref.platform import CpuRefPlatform

__all__ = ["Capturing", "FourDevices", "Mutant", "path_of"]

PARTS = "core.tests.mutants."


def path_of(platform_cls: type[Platform]) -> str:
    """The dotted path under which the kit and its workers find the class."""
    return f"{platform_cls.__module__}.{platform_cls.__qualname__}"


class Mutant(CpuRefPlatform):
    """Subclasses name one broken part, as a path below this package, or override one method."""

    caught_by: ClassVar[tuple[str, ...]]
    """Laws, each of which must fail; the first one's area says where a reader would look."""
    sound: ClassVar[type[Platform]] = CpuRefPlatform
    """The same platform without the fault, which keeps these laws."""

    attention: ClassVar[str | None] = None
    runner: ClassVar[str | None] = None
    worker: ClassVar[str | None] = None
    communicator: ClassVar[str | None] = None
    op: ClassVar[tuple[str, str] | None] = None
    """(name, path)."""

    def get_attn_backend_cls(self) -> str:
        """The broken one, if that is the fault."""
        return PARTS + self.attention if self.attention else super().get_attn_backend_cls()

    def get_model_runner_cls(self) -> str:
        """The broken one, if that is the fault."""
        return PARTS + self.runner if self.runner else super().get_model_runner_cls()

    def get_worker_cls(self) -> str:
        """The broken one, if that is the fault."""
        return PARTS + self.worker if self.worker else super().get_worker_cls()

    def get_communicator_cls(self) -> str:
        """The broken one, if that is the fault."""
        return PARTS + self.communicator if self.communicator else super().get_communicator_cls()

    def op_overrides(self) -> Mapping[str, str]:
        """The broken one, if that is the fault."""
        return {self.op[0]: PARTS + self.op[1]} if self.op else super().op_overrides()


class FourDevices(CpuRefPlatform):
    """Sound: takes this machine for one of four devices, so that the laws of four ranks apply."""

    def device_count(self) -> int:
        """As many as the laws want at most."""
        return 4


class Capturing(CpuRefPlatform):
    """Sound: "captures" decode steps by keeping the model's forward, so that the laws of capture apply."""

    def capabilities(self) -> Mapping[Feature, Capability]:
        """Graph capture too."""
        return {**super().capabilities(), Feature.GRAPH_CAPTURE: Capability.full()}

    def get_captured_forward_cls(self) -> str | None:
        """The honest recorder."""
        return PARTS + "runner_parts.HonestCapture"
