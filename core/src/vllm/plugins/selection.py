"""Owns `VLLM_PLUGINS`: which of the installed plugins may be imported; and what is said about the environment, once."""

from __future__ import annotations

from collections.abc import Iterable

from vllm import envs
from vllm.errors import near_names
from vllm.logger import init_logger, is_child_process
from vllm.plugins.discovery import Plugin
from vllm.plugins.groups import OPT_IN_GROUPS
from vllm.plugins.upstream import find_upstream_packages

__all__ = ["announce", "left_out_because", "unknown_names"]

logger = init_logger(__name__)


def left_out_because(plugin: Plugin) -> str | None:
    """Why `VLLM_PLUGINS` leaves the plugin out, None where it may be imported."""
    allowed = envs.VLLM_PLUGINS
    if allowed is None:
        opt_in = plugin.group in OPT_IN_GROUPS
        return f"plugins of {plugin.group} load only where VLLM_PLUGINS names them" if opt_in else None
    return None if plugin.name in allowed else f"VLLM_PLUGINS={','.join(allowed)!r} leaves it out"


def announce(group: str, installed: Iterable[Plugin]) -> tuple[Plugin, ...]:
    """Log what is installed in `group` and what looks wrong around it; returns the plugins of the group."""
    everything = tuple(installed)
    if not is_child_process():  # children inherit the environment: once is enough
        _warn_about_surroundings(everything)
    plugins = tuple(plugin for plugin in everything if plugin.group == group)
    if plugins:
        logger.info("Available plugins for group %s:", group)
    for plugin in plugins:
        logger.info("name=%s, value=%s", plugin.name, plugin.value)
    return plugins


def unknown_names(installed: Iterable[Plugin]) -> tuple[str, ...]:
    """One sentence for each name in `VLLM_PLUGINS` that no installed plugin has."""
    known = sorted({plugin.name for plugin in installed})
    return tuple(_unknown(name, known) for name in envs.VLLM_PLUGINS or () if name not in known)


def _unknown(name: str, known: list[str]) -> str:
    near = "".join(f" Did you mean {near}?" for near in near_names(name, known, limit=1))
    return f"VLLM_PLUGINS names {name!r}, but no installed plugin has this name. Known: {', '.join(known) or 'none'}.{near}"


def _warn_about_surroundings(installed: tuple[Plugin, ...]) -> None:
    for sentence in unknown_names(installed):
        logger.warning_once("%s", sentence)
    for package in find_upstream_packages(installed):
        logger.warning_once("%s", str(package))
    for complaint in envs.complaints():
        logger.warning_once("%s", complaint)
