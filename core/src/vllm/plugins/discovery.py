"""Owns what is known of a plugin before anything of it is imported: name, distribution, version, core range, refusal."""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.metadata import Distribution, EntryPoint, distributions

from vllm.errors import PluginError
from vllm.logger import init_logger
from vllm.plugins.api_range import canonical, core_version, declared_range, missing_range_refusal, range_refusal
from vllm.plugins.groups import GROUPS, PLATFORM

__all__ = ["Plugin", "discover", "installed_plugins"]

logger = init_logger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Plugin:
    """One entry point of one distribution, as its metadata describes it."""

    group: str
    name: str
    value: str
    """Where its object lives: `module:attribute`."""
    distribution: str
    version: str
    core_range: str | None
    """The versions of vllm-core it says it fits; "" is any, None where it says nothing."""
    refusal: PluginError | None = field(compare=False)
    """Why it must not be imported, where that is already known."""

    def __str__(self) -> str:
        return f"{self.name} ({self.distribution} {self.version})"

    @property
    def entry_point(self) -> EntryPoint:
        """For importing it."""
        return EntryPoint(name=self.name, value=self.value, group=self.group)


def discover(group: str) -> tuple[Plugin, ...]:
    """The installed plugins of one group, by name. Imports nothing of them; `VLLM_PLUGINS` is not applied yet."""
    return tuple(plugin for plugin in installed_plugins() if plugin.group == group)


def installed_plugins() -> tuple[Plugin, ...]:
    """The installed plugins of every group, by group and name. One pass over the installed distributions' metadata."""
    plugins: dict[str, list[Plugin]] = {}
    for distribution in distributions():
        try:
            found = _plugins_of(distribution)
        except Exception as error:  # noqa: BLE001 - metadata that cannot be read raises whatever the parser of this Python raises
            _report_unreadable(distribution, error)
            continue
        if found:  # the first distribution of a name on sys.path shadows later ones, as for imports
            plugins.setdefault(_key_of(distribution, found), found)
    everything = (plugin for of_one in plugins.values() for plugin in of_one)
    return tuple(sorted(everything, key=lambda plugin: (GROUPS.index(plugin.group), plugin.name, plugin.distribution)))


def _key_of(distribution: Distribution, found: list[Plugin]) -> str:
    """Its name; without one, what it holds, because a folder may stand on the path twice."""
    name = distribution.metadata["Name"]
    return canonical(name) if name else repr([(plugin.group, plugin.name, plugin.value) for plugin in found])


def _entry_points_of(distribution: Distribution) -> list[EntryPoint]:
    """Those in our groups. The text is searched first: parsing every distribution's metadata would cost tens of milliseconds."""
    text = distribution.read_text("entry_points.txt") or ""
    if not any(group in text for group in GROUPS):
        return []
    return [entry_point for entry_point in distribution.entry_points if entry_point.group in GROUPS]


def _report_unreadable(distribution: Distribution, error: Exception) -> None:
    try:
        name = _name_of(distribution)
    except Exception:  # noqa: BLE001 - its name is what cannot be read
        name = f"a distribution in {distribution.locate_file('')}"
    logger.warning_once(
        "The plugins of %s are left out, because its metadata cannot be read: %s: %s. Remedy: reinstall it.",
        name,
        type(error).__name__,
        str(error),
    )


def _plugins_of(distribution: Distribution) -> list[Plugin]:
    return [_plugin(distribution, _name_of(distribution), each) for each in _entry_points_of(distribution)]


def _plugin(distribution: Distribution, name: str, entry_point: EntryPoint) -> Plugin:
    core_range, refusal = _core_range_of(distribution, name, entry_point)
    return Plugin(
        group=entry_point.group,
        name=entry_point.name,
        value=entry_point.value,
        distribution=name,
        version=distribution.metadata["Version"] or "unknown",
        core_range=core_range,
        refusal=refusal,
    )


def _core_range_of(
    distribution: Distribution, name: str, entry_point: EntryPoint
) -> tuple[str | None, PluginError | None]:
    """The declared range, and the refusal that follows from it. A core that was never installed has no version to compare."""
    plugin = entry_point.name
    try:
        wanted = declared_range(distribution.requires or ())
    except ValueError as error:
        remedy = f"reinstall {name}, or tell its author"
        return None, PluginError(
            f"The plugin {plugin} ({name}) states its core range unreadably: {error}.", remedy=remedy
        )
    if wanted is None and entry_point.group == PLATFORM:
        return None, missing_range_refusal(plugin=plugin, distribution=name)
    found = core_version()
    if wanted is None or found is None:
        return wanted, None
    return wanted, range_refusal(plugin=plugin, distribution=name, wanted=wanted, found=found)


def _name_of(distribution: Distribution) -> str:
    return distribution.metadata["Name"] or "a distribution without a name"
