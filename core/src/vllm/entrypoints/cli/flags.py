"""Owns how option sets (dataclasses of `option(…)` fields) become flags of a command, and how what was given becomes instances.

Precedence: the command line, then the `--config` file, then the definition's default. Values are read by the options
themselves, so that flags, YAML and keyword arguments fail with the same words.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vllm.config.absent_options import refuse_absent
from vllm.config.options import Option, canonical_names, options_of, refuse_unknown
from vllm.entrypoints.cli.argv import merged
from vllm.entrypoints.cli.errors import UsageError, as_usage_errors
from vllm.entrypoints.cli.help_text import render_help

__all__ = ["add_command", "read_sets", "refuse_flags_among_words", "take_extras"]

_FLAG_WITH_VALUE = re.compile(r"--[A-Za-z][\w-]*=.*", re.DOTALL)


def add_command(
    subparsers: argparse._SubParsersAction[argparse.ArgumentParser],
    name: str,
    what: str,
    *sets: type,
    positional: str | None = None,
    more: str = "",
) -> argparse.ArgumentParser:
    """A parser for one command with the flags of `sets`; `what` is its line in the list of commands, `more` what help adds."""
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=what, add_help=False, allow_abbrev=False)
    options = [one for each in sets for one in options_of(each).values()]
    usage = f"{parser.prog} {f'[{positional} …] ' if positional else ''}[options]"
    description = f"{what[0].upper()}{what[1:]}.{' ' if more else ''}{more}"
    parser.usage = usage
    help_action = parser.add_argument("-h", "--help", action=_Help, nargs="?", const="", dest="help")
    assert isinstance(help_action, _Help)
    help_action.render = lambda topic: render_help(usage, description, options, topic)
    parser.add_argument("--config", default=None)
    if positional:
        parser.add_argument("positional", nargs="*", metavar=positional)
    for one in options:
        _add_flag(parser, one)
    return parser


class _Help(argparse.Action):
    """`--help` for what most need, `--help=all`, `--help=Group`, `--help=keyword`."""

    render: Any

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        print(self.render(values), end="")
        parser.exit(0)


class _Merge(argparse.Action):
    """JSON objects given several times, or entry by entry, are one object. What is no JSON is left for the option to refuse."""

    def __call__(self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option_string: Any = None) -> None:
        try:
            value = json.loads(values)
        except ValueError:
            value = values
        setattr(namespace, self.dest, merged(getattr(namespace, self.dest, None), value))


def _add_flag(parser: argparse.ArgumentParser, one: Option) -> None:
    """The flags of one option. Only what is given ends up in the namespace, as it was written."""
    common: dict[str, Any] = {"dest": one.name, "default": argparse.SUPPRESS}
    if one.kind.arity == "switch":
        parser.add_argument(*one.flags, action="store_const", const=True, **common)
        opposites = [f"--no-{flag[2:]}" for flag in one.flags if flag.startswith("--")]
        parser.add_argument(*opposites, action="store_const", const=False, **common)
    elif one.kind.arity == "many":
        parser.add_argument(*one.flags, action="extend", nargs="+", **common)
    elif one.kind.arity == "repeated":
        parser.add_argument(*one.flags, action="append", **common)
    else:
        parser.add_argument(*one.flags, action=_Merge if one.kind.is_mapping else "store", **common)


def read_sets(args: argparse.Namespace, *sets: type) -> list[Any]:
    """One instance of each set, from the flags and the `--config` file. Raises UsageError."""
    with as_usage_errors():
        known = [one for each in sets for one in options_of(each).values()]
        given = {} if args.config is None else _read_file(Path(args.config), known)
        given |= {one.name: getattr(args, one.name) for one in known if hasattr(args, one.name)}
        return [each(**{name: given[name] for name in options_of(each) if name in given}) for each in sets]


def _read_file(path: Path, known: Sequence[Option]) -> dict[str, Any]:
    """The options of a YAML file by keyword."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as error:
        raise UsageError(f"--config {path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UsageError(f"--config {path} is no valid YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise UsageError(
            f"--config {path} holds a {type(content).__name__}, but options as `max-model-len: 2k` are needed."
        )
    names = canonical_names(known)
    return {found: value for key, value in content.items() if (found := _keyword(str(key), value, names, path))}


def _keyword(key: str, value: Any, names: Mapping[str, str], path: Path) -> str | None:
    """The keyword that a YAML key means; None for one that asks for nothing."""
    keyword = key.replace("-", "_")
    if keyword in names:
        return names[keyword]
    if refuse_absent(keyword, value, show=f"{key} (in {path})"):
        return None
    raise refuse_unknown(keyword, names, where=f"The command of --config {path}", show=key)


def take_extras(extras: Iterable[str], args: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Add words between options to the command's positional ones. Raises UsageError for what no option took."""
    for word in extras:
        if hasattr(args, "positional") and (word == "-" or not word.startswith("-")):
            args.positional.append(word)
        else:
            with as_usage_errors():
                _refuse(word, parser)


def refuse_flags_among_words(words: Iterable[str], parser: argparse.ArgumentParser) -> None:
    """Raise UsageError for an unknown `--name=a b`: argparse takes it for a word, because its value holds a space."""
    for word in words:
        if _FLAG_WITH_VALUE.fullmatch(word):
            with as_usage_errors():
                _refuse(word, parser)


def _refuse(word: str, parser: argparse.ArgumentParser) -> None:
    if not word.startswith("-"):
        raise UsageError(f"{parser.prog} does not know what to do with {word!r}.", remedy=f"see `{parser.prog} --help`")
    flag = word.partition("=")[0]
    keyword = flag.lstrip("-").replace("-", "_")
    refuse_absent(keyword, True, show=flag)
    known = [
        spelling.lstrip("-").replace("-", "_")
        for spelling in parser._option_string_actions
        if spelling.startswith("--")
    ]
    raise refuse_unknown(keyword, known, where=parser.prog, show=flag)
