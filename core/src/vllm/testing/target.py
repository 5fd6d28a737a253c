"""Owns which platform is tested: an entry-point name, asked as the resolution asks it, or a dotted path. No torch."""

from __future__ import annotations

from vllm.platforms.candidates import ask
from vllm.platforms.choice import choose, named
from vllm.plugins.discovery import installed_plugins
from vllm.plugins.groups import PLATFORM

__all__ = ["find_platform"]

_ASKED = "The platform asked for is"


def find_platform(name: str) -> str:
    """The dotted path of the Platform class that the plugin `name` registers; a dotted path is given back as it is.

    Raises:
        NoPlatformError: no such plugin, or it is not usable here; the text is the resolution's own.
    """
    if "." in name:
        return name
    installed = tuple(plugin for plugin in installed_plugins() if plugin.group == PLATFORM)
    meant = named(installed, name, asked_by=_ASKED)
    return choose([ask(plugin) for plugin in meant], wanted=name, asked_by=_ASKED).path
