"""Owns the rule that picks one platform from the plugins' answers, and the errors where the rule picks none. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from vllm.errors import NoPlatformError, PlatformConflictError, near_names
from vllm.platforms.candidates import Unusable, Usable
from vllm.plugins.discovery import Plugin

__all__ = ["choose", "named"]

FALLBACK_DISTRIBUTION = "vllm-plugin-cpu-ref"
_VARIABLE = "VLLM_PLATFORM is"
_INSTALL_FALLBACK = f"pip install {FALLBACK_DISTRIBUTION} (runs on any CPU), or install the plugin of your accelerator"


def named(installed: Sequence[Plugin], wanted: str, *, asked_by: str = _VARIABLE) -> tuple[Plugin, ...]:
    """The plugins that `VLLM_PLATFORM=wanted` means; `asked_by` begins the sentence where something else asked.

    Raises:
        NoPlatformError: none has this name.
    """
    meant = tuple(plugin for plugin in installed if plugin.name == wanted)
    if not meant:
        known = [plugin.name for plugin in installed]
        raise NoPlatformError(
            f"{asked_by} {wanted!r}, but no installed platform plugin has this name; installed: {', '.join(known) or 'none'}.",
            remedy=_rename(asked_by) if known else _INSTALL_FALLBACK,
            candidates=near_names(wanted, known),
        )
    return meant


def _rename(asked_by: str) -> str:
    return "unset VLLM_PLATFORM, or set it to an installed name" if asked_by == _VARIABLE else "give an installed name"


def choose(answers: Sequence[Usable | Unusable], *, wanted: str | None, asked_by: str = _VARIABLE) -> Usable:
    """The one platform to run on. A usable accelerator comes before a fallback; two of the same rank are the user's choice.

    Raises:
        NoPlatformError: none is usable; the text gives every candidate's reason.
        PlatformConflictError: several are.
    """
    usable = [answer for answer in answers if isinstance(answer, Usable)]
    accelerators = [answer for answer in usable if not answer.platform_cls.is_fallback]
    best = accelerators or usable
    if not best:
        raise _none_usable([answer for answer in answers if isinstance(answer, Unusable)], wanted, asked_by)
    if len(best) > 1:
        raise _several_usable(best)
    return best[0]


def _none_usable(answers: Sequence[Unusable], wanted: str | None, asked_by: str) -> NoPlatformError:
    if not answers:
        return NoPlatformError(
            "No platform plugin is installed, and vLLM's core runs on no hardware by itself.", remedy=_INSTALL_FALLBACK
        )
    head = f"{asked_by} {wanted!r}, but that platform is not usable here:" if wanted else "No platform is usable here:"
    lines = [head, *(f"  - {answer.plugin}: {answer}" for answer in answers)]
    return NoPlatformError("\n".join(lines), remedy=_remedy_for(answers, wanted, asked_by))


def _remedy_for(answers: Sequence[Unusable], wanted: str | None, asked_by: str) -> str:
    if wanted and asked_by != _VARIABLE:
        return "do what is said above"
    if wanted:
        return "do what is said above, or unset VLLM_PLATFORM to use what is usable"
    has_fallback = any(answer.plugin.distribution == FALLBACK_DISTRIBUTION for answer in answers)
    return "do what is said above for one of them" if has_fallback else _INSTALL_FALLBACK


def _several_usable(best: Sequence[Usable]) -> PlatformConflictError:
    names = sorted({answer.plugin.name for answer in best})
    who = " and ".join(str(answer.plugin) for answer in best)
    what = f"{len(best)} platforms are usable here, and nothing says which to take: {who}."
    if len(names) < len(best):
        return PlatformConflictError(what, remedy="several share one name: uninstall all but one of them")
    return PlatformConflictError(what, remedy=f"set VLLM_PLATFORM to one of {', '.join(names)}")
