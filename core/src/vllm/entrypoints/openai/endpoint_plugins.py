"""Owns `vllm.endpoint_plugins`: functions of installed packages that add routes of their own to the server.

They run only where `VLLM_PLUGINS` names them. A plugin is called once with the application: `def register(app: FastAPI) -> None`;
its routes find the engine in `request.app.state.server.engine`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.errors import PluginError, in_a_sentence
from vllm.plugins import load_plugins
from vllm.plugins.groups import ENDPOINT

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["add_endpoint_plugins"]


def add_endpoint_plugins(app: FastAPI) -> None:
    """Call every plugin that was asked for. Raises PluginError for one that breaks: its routes were asked for by name."""
    for name, register in load_plugins(ENDPOINT).items():
        try:
            register(app)
        except Exception as error:
            raise PluginError(
                f"The endpoint plugin {name!r} broke while it added its routes: {in_a_sentence(error)}",
                remedy="leave it out of VLLM_PLUGINS, or ask its author",
            ) from error
