"""Owns what `--help` prints for commands with many options: the common ones, or a group, or what matches a keyword."""

from __future__ import annotations

import shutil
import textwrap
from collections.abc import Iterator, Sequence

from vllm.config.options import Option
from vllm.entrypoints.cli.errors import UsageError
from vllm.errors import near_names

__all__ = ["render_help"]

_COLUMN = 34
_GENERAL = "General"
_OWN_LINES = (
    ("--config FILE", "YAML file of options; flags win over it."),
    ("-h, --help[=all|GROUP|KEYWORD]", "This text; all options, those of a group, or those that match."),
)


def render_help(usage: str, description: str, options: Sequence[Option], topic: str) -> str:
    """The help text. `topic` is empty, "all", the name of a group, or a keyword. Raises UsageError where nothing matches."""
    chosen = _chosen(options, topic)
    lines = [f"usage: {usage}", "", *textwrap.wrap(description, _width()), ""]
    for group in dict.fromkeys(one.group for one in chosen):
        lines += [f"{group}:", *(line for one in chosen if one.group == group for line in _option_lines(one)), ""]
    if topic in ("", "all"):
        lines += [f"{_GENERAL}:", *(line for left, right in _OWN_LINES for line in _two_columns(left, right)), ""]
    if topic == "":
        lines += _pointer(options, len(options) - len(chosen))
    return "\n".join(lines)


def _chosen(options: Sequence[Option], topic: str) -> list[Option]:
    if topic == "":
        return [one for one in options if one.is_common]
    if topic.casefold() == "all":
        return list(options)
    wanted = topic.lstrip("-").replace("-", "_").casefold()
    group = [one for one in options if one.group.casefold() in (wanted, wanted + "config")]
    return (
        group
        or [one for one in options if wanted in one.name or wanted in one.help.casefold()]
        or _nothing(options, topic)
    )


def _nothing(options: Sequence[Option], topic: str) -> list[Option]:
    words = [*dict.fromkeys(one.group for one in options), *(one.name.replace("_", "-") for one in options)]
    raise UsageError(
        f"--help={topic}: there is no such group, and no option matches.",
        remedy="--help=all lists every option",
        candidates=near_names(topic, words),
    )


def _pointer(options: Sequence[Option], hidden: int) -> list[str]:
    groups = ", ".join(dict.fromkeys(one.group for one in options))
    text = f"{hidden} more options: --help=all, --help=GROUP ({groups}) or --help=KEYWORD."
    return [*textwrap.wrap(text, _width()), ""]


def _option_lines(one: Option) -> Iterator[str]:
    flags = [*one.flags]
    if one.kind.arity == "switch":
        flags[0] = f"--[no-]{flags[0][2:]}"
    many = " …" if one.kind.arity == "many" else ""
    left = ", ".join(flags) + (f" {one.kind.placeholder}{many}" if one.kind.placeholder else "")
    return _two_columns(left, f"{one.help} (default: {_default(one)})")


def _default(one: Option) -> str:
    if one.default_words is not None:
        return one.default_words
    if isinstance(one.default, bool):
        return "on" if one.default else "off"
    return "none" if one.default is None else str(one.default)


def _two_columns(left: str, right: str) -> Iterator[str]:
    """`left` indented, `right` from a fixed column on, or below where `left` is too long."""
    wrapped = textwrap.wrap(right, max(30, _width() - _COLUMN))
    if len(left) + 4 > _COLUMN:
        yield f"  {left}"
    else:
        yield f"  {left}".ljust(_COLUMN) + wrapped.pop(0)
    yield from (" " * _COLUMN + line for line in wrapped)


def _width() -> int:
    return min(shutil.get_terminal_size().columns, 110)
