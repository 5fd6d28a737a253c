"""Owns the question "does this plugin fit this core?", answered from the plugin's metadata alone.

A plugin states its range as any package states a dependency: `Requires-Dist: vllm-core>=0.1.dev0,<0.2.dev0`.
Development versions count as what they are: they lie in a range whose bounds admit them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from vllm.errors import PluginVersionError

if TYPE_CHECKING:
    from packaging.requirements import Requirement

__all__ = ["CORE_DISTRIBUTION", "canonical", "core_version", "declared_range", "missing_range_refusal", "range_refusal"]

CORE_DISTRIBUTION = "vllm-core"


def canonical(name: str) -> str:
    """The one spelling of a distribution's name, as packaging canonicalises it: "Vllm_Core" is "vllm-core"."""
    return re.sub(r"[-_.]+", "-", name).lower()


def core_version() -> str | None:
    """The installed version of the core; None where it runs from a folder that was never installed."""
    try:
        return version(CORE_DISTRIBUTION)
    except PackageNotFoundError:
        return None


def declared_range(requirements: Iterable[str]) -> str | None:
    """The core range among a distribution's `Requires-Dist` lines, e.g. ">=0.1.dev0,<0.2.dev0"; None where it names no core.

    "" means any version. Lines that apply only to an extra, or not on this machine, do not count.

    Raises:
        packaging.requirements.InvalidRequirement: a line that concerns the core cannot be read.
    """
    from packaging.requirements import Requirement

    # Only lines that can be about the core are parsed: somebody else's odd line is no reason to refuse a plugin.
    about_core = [Requirement(line) for line in requirements if canonical(line).startswith(CORE_DISTRIBUTION)]
    counting = [requirement for requirement in about_core if _counts(requirement)]
    bounds = {str(bound) for requirement in counting for bound in requirement.specifier}
    return ",".join(sorted(bounds, key=lambda bound: (bound.startswith("<"), bound))) if counting else None


def _counts(requirement: Requirement) -> bool:
    marker = requirement.marker
    return canonical(requirement.name) == CORE_DISTRIBUTION and (marker is None or marker.evaluate({"extra": ""}))


def range_refusal(*, plugin: str, distribution: str, wanted: str, found: str) -> PluginVersionError | None:
    """The error to show where core version `found` lies outside the range `wanted`; None where it fits."""
    from packaging.specifiers import SpecifierSet

    if SpecifierSet(wanted).contains(found, prereleases=True):
        return None
    return PluginVersionError(
        f"The plugin {plugin} ({distribution}) wants {CORE_DISTRIBUTION} {wanted}, but {CORE_DISTRIBUTION} {found} is installed.",
        remedy=f"pip install '{CORE_DISTRIBUTION}{wanted}', or a release of {distribution} that fits {CORE_DISTRIBUTION} {found}",
    )


def missing_range_refusal(*, plugin: str, distribution: str) -> PluginVersionError:
    """The error to show for a platform plugin that names no core: most likely it is made for upstream's."""
    return PluginVersionError(
        f"The plugin {plugin} ({distribution}) does not say which versions of {CORE_DISTRIBUTION} it fits, so it may be "
        "written for upstream's vLLM, whose platform contract is another one.",
        remedy=f"pip uninstall {distribution}; or, as its author, add '{CORE_DISTRIBUTION}>=X,<Y' to its dependencies",
    )
