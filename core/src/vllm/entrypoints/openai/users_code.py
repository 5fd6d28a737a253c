"""Owns loading what users add to the server itself, middleware and endpoint plugins: a wrong name is told before the engine starts."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from vllm.errors import ConfigError, PluginError, in_a_sentence
from vllm.plugins import load_dotted, load_plugins
from vllm.plugins.groups import ENDPOINT

if TYPE_CHECKING:
    from vllm.entrypoints.openai.server_args import ServerArgs

__all__ = ["check_users_code", "load_middleware"]


def check_users_code(args: ServerArgs) -> None:
    """Load it once, and use nothing. Raises ConfigError and PluginError."""
    for path in args.middleware:
        load_middleware(path)
    load_plugins(ENDPOINT)


def load_middleware(path: str) -> Any:
    """A class, or an async function (request, call_next). Raises ConfigError."""
    try:
        found = load_dotted(path)
    except (ImportError, PluginError) as error:
        raise ConfigError(f"--middleware {path} cannot be loaded: {in_a_sentence(error)}") from error
    if not isinstance(found, type) and not inspect.iscoroutinefunction(found):
        raise ConfigError(
            f"--middleware {path} is neither a class nor an async function.", remedy="see docs/serving.md"
        )
    return found
