"""Owns what `vllm plugin list` knows: every installed plugin with its metadata, whether it is usable here, or why not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from vllm import envs
from vllm.errors import NoPlatformError, PlatformConflictError
from vllm.platforms.candidates import Unusable, Usable, ask
from vllm.platforms.choice import choose, named
from vllm.plugins.api_range import core_version
from vllm.plugins.discovery import Plugin, installed_plugins
from vllm.plugins.groups import PLATFORM
from vllm.plugins.selection import left_out_because
from vllm.plugins.upstream import UpstreamPackage, find_upstream_packages

__all__ = ["Answers", "PluginReport", "PluginRow", "ask_installed", "report_of", "report_plugins"]

Answers: TypeAlias = dict[Plugin, Usable | Unusable | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginRow:
    """One plugin. `status`: usable, fallback (usable, yields to accelerators), not usable, broken, left out, refused, or
    installed (not a platform: what it does is known only once it runs). `reason` is empty where there is nothing to explain.
    """

    group: str
    name: str
    value: str
    distribution: str
    version: str
    core_range: str | None
    status: str
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginReport:
    """All plugins, and the platform that this environment would run on (or the problem with choosing one)."""

    core_version: str | None
    rows: tuple[PluginRow, ...]
    chosen: str | None
    problem: str | None
    upstream_packages: tuple[UpstreamPackage, ...]


def report_plugins() -> PluginReport:
    """Look at every installed plugin; platform plugins are asked whether they are usable, the others are not imported."""
    return report_of(ask_installed())


def ask_installed() -> Answers:
    """Every installed plugin with the answer of the platform plugins among them; None for the others."""
    return {plugin: ask(plugin) if plugin.group == PLATFORM else None for plugin in installed_plugins()}


def report_of(answers: Answers) -> PluginReport:
    """The report on plugins that have been asked."""
    chosen, problem = _chosen({plugin: answer for plugin, answer in answers.items() if answer is not None})
    return PluginReport(
        core_version=core_version(),
        rows=tuple(_row(plugin, answer) for plugin, answer in answers.items()),
        chosen=chosen,
        problem=problem,
        upstream_packages=find_upstream_packages(answers),
    )


def _chosen(answers: dict[Plugin, Usable | Unusable]) -> tuple[str | None, str | None]:
    """(name of the platform that would run, None), or (None, why there is none)."""
    wanted = envs.VLLM_PLATFORM
    try:
        asked: Sequence[Plugin] = named(tuple(answers), wanted) if wanted else tuple(answers)
        return choose([answers[plugin] for plugin in asked], wanted=wanted).plugin.name, None
    except (NoPlatformError, PlatformConflictError) as error:
        return None, str(error)


def _row(plugin: Plugin, answer: Usable | Unusable | None) -> PluginRow:
    status, reason, remedy = _verdict(plugin, answer)
    return PluginRow(
        group=plugin.group,
        name=plugin.name,
        value=plugin.value,
        distribution=plugin.distribution,
        version=plugin.version,
        core_range=plugin.core_range,
        status=status,
        reason=reason,
        remedy=remedy,
    )


def _verdict(plugin: Plugin, answer: Usable | Unusable | None) -> tuple[str, str, str]:
    """(status, reason, remedy) as `PluginRow` describes them; `answer` is None for what is not a platform."""
    if plugin.refusal is not None:
        return "refused", plugin.refusal.what, plugin.refusal.remedy or ""
    if (why := left_out_because(plugin)) is not None:
        return "left out", why, ""
    if isinstance(answer, Unusable):
        return "broken" if answer.is_fault else "not usable", answer.reason, answer.remedy or ""
    if isinstance(answer, Usable):
        return "fallback" if answer.platform_cls.is_fallback else "usable", "", ""
    return "installed", "", ""
