"""Owns which platform this process runs on: found once, by whichever thread asks first, and loudly.

Every installed candidate gets a reason in the log or in the error. Nothing imports torch before a platform is chosen;
plugins promise that their platform's module does not.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import TYPE_CHECKING

from vllm import envs
from vllm.errors import PluginError, in_a_sentence
from vllm.logger import init_logger
from vllm.platforms.candidates import Unusable, Usable, ask, asking, refuse_while_asking
from vllm.platforms.choice import choose, named
from vllm.platforms.selection import load_platform
from vllm.platforms.torch_import import prepare_torch_import
from vllm.plugins.discovery import Plugin, installed_plugins
from vllm.plugins.groups import PLATFORM
from vllm.plugins.selection import announce, left_out_because

if TYPE_CHECKING:
    from vllm.platforms.interface import Platform

__all__ = ["PlatformResolver", "adopt_platform", "resolve_platform", "use_platform"]

logger = init_logger(__name__)


class PlatformResolver:
    """Asks each plugin at most once. A failed choice may be asked for again, e.g. after setting VLLM_PLATFORM in a notebook."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._platform: Platform | None = None
        self._answers: dict[Plugin, Usable | Unusable] = {}

    def resolve(self) -> Platform:
        """The platform, found at the first call."""
        if self._platform is not None:
            return self._platform
        refuse_while_asking()
        with self._lock:
            if self._platform is None:
                self._platform = self._find()
            return self._platform

    def use(self, path: str) -> Platform:
        """Take the Platform class at `path` without asking any plugin; how child processes follow their configuration."""
        refuse_while_asking()
        prepare_torch_import()
        with self._lock:
            self._platform = load_platform(path)
            return self._platform

    def adopt(self, path: str) -> Platform:
        """The platform at `path`; it becomes the process's own only where that has none yet."""
        if self._platform is None:
            return self.use(path)
        return load_platform(path)

    def _find(self) -> Platform:
        prepare_torch_import()
        installed = announce(PLATFORM, installed_plugins())
        wanted = envs.VLLM_PLATFORM
        asked = named(installed, wanted) if wanted else installed
        chosen = choose([self._answer_of(plugin) for plugin in asked], wanted=wanted)
        platform = _created(chosen)
        logger.info("Platform plugin %s is activated", chosen.plugin.name)
        return platform

    def _answer_of(self, plugin: Plugin) -> Usable | Unusable:
        if plugin in self._answers:
            return self._answers[plugin]
        had_torch = "torch" in sys.modules
        answer = ask(plugin, on_imported=lambda: logger.info("plugin %s loaded.", plugin.name))
        _report(answer)
        if "torch" in sys.modules and not had_torch:
            logger.warning(_TOO_EARLY, plugin)
        if left_out_because(plugin) is None:  # a plugin that was left out was not asked
            self._answers[plugin] = answer
        return answer


_TOO_EARLY = (
    "Platform plugin %s imported torch while it was asked whether it is usable, which every process and command waits for. "
    "Remedy: let the plugin import torch inside the methods that need it, not in register() or its platform's module."
)


def _report(answer: Usable | Unusable) -> None:
    if isinstance(answer, Usable):
        logger.debug("Platform plugin %s is usable here: %s", answer.plugin, answer.path)
        return
    level = logging.WARNING if answer.is_fault else logging.INFO
    trace = f"\n{answer.trace.rstrip()}" if answer.trace else ""
    logger.log(level, "Platform plugin %s is not usable here: %s%s", answer.plugin, answer, trace)


def _created(chosen: Usable) -> Platform:
    try:
        with asking(chosen.plugin.name):
            return load_platform(chosen.path)
    except Exception as error:
        raise PluginError(
            f"The platform {chosen.plugin} is usable, but {chosen.path}() raised {in_a_sentence(error)}",
            remedy=f"this is a fault of {chosen.plugin.distribution}; tell its author, or set VLLM_PLATFORM to another platform",
        ) from error


_RESOLVER = PlatformResolver()


def resolve_platform() -> Platform:
    """The platform of this process; the first call finds it.

    Raises:
        NoPlatformError: none is usable; the text gives every candidate's reason and what to install.
        PlatformConflictError: several accelerators are usable; the text names them and VLLM_PLATFORM.
        PluginError: asked from inside a plugin that is being asked.
    """
    return _RESOLVER.resolve()


def use_platform(path: str) -> Platform:
    """Make the Platform class at `path` (`VllmConfig.platform`) this process's platform, without discovery."""
    return _RESOLVER.use(path)


def adopt_platform(path: str) -> Platform:
    """The Platform class at `path` for one engine: another platform that this process has resolved already stays its own."""
    return _RESOLVER.adopt(path)
