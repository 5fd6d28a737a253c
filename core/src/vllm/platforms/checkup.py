"""Owns what `vllm plugin doctor` knows beyond the list: what plugins looked for, what they need, and everything that is wrong.

Nothing heavy is imported, unless a platform's own `doctor` does.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from vllm import envs
from vllm.errors import ConfigError, in_a_sentence
from vllm.platforms.candidates import Unusable, Usable
from vllm.platforms.listing import PluginReport, PluginRow, ask_installed, report_of
from vllm.plugins.api_range import CORE_DISTRIBUTION
from vllm.plugins.selection import unknown_names

if TYPE_CHECKING:
    from packaging.requirements import Requirement

    from vllm.platforms.interface import Platform

__all__ = ["Checkup", "PluginCheckup", "examine"]


@dataclass(frozen=True, kw_only=True, slots=True)
class PluginCheckup:
    """One plugin: its row of the list, its own findings, and its traceback where it raised."""

    row: PluginRow
    findings: dict[str, str]
    """What it looked for → what it found: its `Platform.doctor()` where it is usable, its probes where it is not."""
    trace: str | None
    troubles: tuple[str, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkup:
    """The whole examination. Healthy where `troubles` is empty; hardware that is simply absent is no trouble."""

    report: PluginReport | None
    """None where a variable that discovery needs cannot be read."""
    plugins: tuple[PluginCheckup, ...]
    troubles: tuple[str, ...]


def examine() -> Checkup:
    """Look at variables, installed versions and every plugin; raises for nothing that it can report."""
    surroundings = [*_unreadable_variables(), *envs.complaints()]
    try:
        answers = ask_installed()
        report = report_of(answers)
    except ConfigError as error:  # a variable that stands in `surroundings` already, or the reader's way of saying so
        troubles = surroundings or [error.what]
        return Checkup(report=None, plugins=(), troubles=tuple(troubles))
    surroundings += unknown_names(answers)
    plugins = tuple(_checkup(row, answer) for row, answer in zip(report.rows, answers.values(), strict=True))
    of_plugins = [trouble for plugin in plugins for trouble in plugin.troubles]
    troubles = [
        *surroundings,
        *map(str, report.upstream_packages),
        *_unmet_requirements([CORE_DISTRIBUTION, *(row.distribution for row in report.rows)]),
        *of_plugins,
        *([report.problem] if report.problem else []),
    ]
    return Checkup(report=report, plugins=plugins, troubles=tuple(dict.fromkeys(troubles)))


# ---- one plugin


def _checkup(row: PluginRow, answer: Usable | Unusable | None) -> PluginCheckup:
    trouble = [f"{row.name}: {row.reason}"] if row.status in ("broken", "refused") else []
    findings: Mapping[str, str] = answer.probes if isinstance(answer, Unusable) else {}
    if isinstance(answer, Usable):
        try:
            findings = {**_visible_devices(answer.platform_cls), **_own_findings(answer.platform_cls)}
        except Exception as error:  # noqa: BLE001 - a plugin's own code may raise anything; it becomes a trouble
            trouble.append(f"{row.name}: its doctor() raised {in_a_sentence(error)}")
    trace = answer.trace if isinstance(answer, Unusable) else None
    return PluginCheckup(row=row, findings=dict(findings), trace=trace, troubles=tuple(trouble))


def _own_findings(platform_cls: type[Platform]) -> dict[str, str]:
    """In a thread of its own, so that a driver which hangs costs its time limit and not the command."""
    answers: list[dict[str, str]] = []
    errors: list[Exception] = []

    def run() -> None:
        try:
            answers.append({key: str(value) for key, value in platform_cls().doctor().items()})
        except Exception as error:  # noqa: BLE001 - carried to the asking thread, where it becomes a trouble
            errors.append(error)

    thread = threading.Thread(target=run, name=f"doctor-{platform_cls.name}", daemon=True)
    thread.start()
    thread.join(envs.VLLM_PLUGIN_PROBE_TIMEOUT_S)
    for error in errors:
        raise error
    if not answers:
        limit = f"{envs.VLLM_PLUGIN_PROBE_TIMEOUT_S:g} s (VLLM_PLUGIN_PROBE_TIMEOUT_S)"
        raise TimeoutError(f"it has not answered within {limit}")
    return answers[0]


def _visible_devices(platform_cls: type[Platform]) -> dict[str, str]:
    """The variable that limits the devices, for vendors that have one."""
    name = platform_cls.device_control_env_var
    return {} if name is None else {f"environment variable {name}": os.environ.get(name) or "not set: all devices"}


# ---- the environment


def _unreadable_variables() -> Iterator[str]:
    """One sentence for each variable whose value cannot be what it must be."""
    for variable in envs.TABLE:
        try:
            variable.value(os.environ)
        except ConfigError as error:
            yield f"{error.what} Remedy: {error.remedy}"


def _unmet_requirements(distributions: list[str]) -> Iterator[str]:
    """What an installed distribution needs of another that is missing or of another version."""
    for distribution in dict.fromkeys(distributions):
        for requirement in _requirements_of(distribution):
            found = _version_of(requirement.name)
            if found is None:
                yield f"{distribution} needs {requirement}, which is not installed."
            elif requirement.name != CORE_DISTRIBUTION and not requirement.specifier.contains(found, prereleases=True):
                yield f"{distribution} needs {requirement}, but {found} is installed."


def _requirements_of(distribution: str) -> Iterator[Requirement]:
    """Those that count on this machine, without those of extras. What cannot be parsed is pip's to complain about."""
    from packaging.requirements import InvalidRequirement, Requirement

    for line in (requires(distribution) if _version_of(distribution) else None) or ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            yield requirement


def _version_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
