"""Owns the import of plugins that are not platforms: general ones in every process, classes of the other groups on demand."""

from __future__ import annotations

import threading
from typing import Any

from vllm.errors import PluginError, in_a_sentence
from vllm.logger import init_logger
from vllm.plugins.discovery import Plugin, installed_plugins
from vllm.plugins.groups import GENERAL
from vllm.plugins.selection import announce, left_out_because

__all__ = ["import_plugin", "load_general_plugins", "load_plugins"]

logger = init_logger(__name__)
_general_lock = threading.RLock()
_general_loaded = False


def import_plugin(plugin: Plugin) -> Any:
    """The object that the plugin's entry point names.

    Raises:
        PluginError: refused by its metadata, or whatever its import raised, by name and with the original as cause.
    """
    if plugin.refusal is not None:
        raise plugin.refusal
    try:
        return plugin.entry_point.load()
    except (Exception, SystemExit) as error:  # a plugin's module may raise anything; naming the plugin is our part
        raise PluginError(
            f"The plugin {plugin} of {plugin.group} cannot be imported ({plugin.value}): {in_a_sentence(error)}",
            remedy=f"install what it needs, or pip uninstall {plugin.distribution}, or leave it out of VLLM_PLUGINS",
        ) from error


def load_plugins(group: str) -> dict[str, Any]:
    """The objects of one group by entry-point name, those that `VLLM_PLUGINS` allows.

    Raises:
        PluginError: one of them cannot be imported, or two distributions use one name.
    """
    plugins = [plugin for plugin in announce(group, installed_plugins()) if left_out_because(plugin) is None]
    loaded: dict[str, Any] = {}
    for plugin in plugins:
        if plugin.name in loaded:
            owners = ", ".join(each.distribution for each in plugins if each.name == plugin.name)
            raise PluginError(
                f"Several distributions give {group} a plugin {plugin.name!r}: {owners}.",
                remedy="uninstall all but one",
            )
        loaded[plugin.name] = import_plugin(plugin)
        logger.info("plugin %s loaded.", plugin.name)
    return loaded


def load_general_plugins() -> None:
    """Call every general plugin, once per process however often this is called, from whichever thread.

    Engine, workers and servers call it first thing. One that breaks is reported with its traceback; the others still run.
    """
    global _general_loaded
    with _general_lock:
        if _general_loaded:
            return
        _general_loaded = True  # before the calls: a plugin may come back here
        for plugin in announce(GENERAL, installed_plugins()):
            if (why := left_out_because(plugin)) is not None:
                logger.debug("The general plugin %s is not loaded: %s.", plugin.name, why)
            else:
                _call_general(plugin)


def _call_general(plugin: Plugin) -> None:
    try:
        register = import_plugin(plugin)
        logger.info("plugin %s loaded.", plugin.name)
        register()
    except PluginError as error:
        cause = error.__cause__  # its traceback is the plugin's own; a refusal has none
        logger.error("The general plugin %s is skipped: %s", plugin.name, error, exc_info=cause)
    except (Exception, SystemExit):
        logger.exception("The general plugin %s raised and is skipped; what it meant to register is missing.", plugin)
