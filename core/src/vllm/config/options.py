"""Owns what an option is: one definition that feeds keyword arguments, command-line flags, YAML keys, `--help` and errors.

An option is a dataclass field made by `option(…)`. `read_options(self)` in `__post_init__` turns whatever was given (text of
a flag, YAML scalar, Python object) into the value it means, or raises `ConfigError` with the option's names and limits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from vllm.config.option_kinds import Kind
from vllm.errors import ConfigError, near_names

__all__ = ["Option", "flag_of", "option", "options_of", "read_options", "refuse_unknown"]

_KEY = "vllm.option"


@dataclass(frozen=True, slots=True)
class Option:
    """One option. `name` is the keyword; the flag is the same with dashes."""

    name: str
    kind: Kind
    default: Any
    help: str
    group: str
    aliases: tuple[str, ...] = ()
    """Other keywords of the same option."""
    short: str | None = None
    """A short flag, e.g. "-tp"."""
    is_common: bool = False
    """Whether the short help shows it."""
    default_words: str | None = None
    """How help describes the default where the value itself would not say it."""

    @property
    def flag(self) -> str:
        """The flag as users type it."""
        return flag_of(self.name)

    @property
    def flags(self) -> tuple[str, ...]:
        """Every spelling of the flag, without the `--no-` forms."""
        return (self.flag, *map(flag_of, self.aliases), *((self.short,) if self.short else ()))

    def read(self, value: Any) -> Any:
        """The value meant. None stands for "not given" where that is the default. Raises ConfigError."""
        if value is None and self.default is None:
            return None
        try:
            return self.kind.read(value)
        except ValueError as error:
            near = near_names(value, self.kind.choices) if isinstance(value, str) else ()
            raise ConfigError(
                f"{self.name} ({self.flag}) is {value!r}, but it must be {error}.", candidates=near
            ) from None


def flag_of(name: str) -> str:
    """The flag of a keyword: max_model_len -> --max-model-len."""
    return "--" + name.replace("_", "-")


def option(
    default: Any,
    kind: Kind,
    doc: str,
    *,
    group: str,
    aliases: tuple[str, ...] = (),
    short: str | None = None,
    common: bool = False,
    default_words: str | None = None,
) -> Any:
    """A dataclass field that is an option; `doc` is one sentence or two for `--help`."""
    parts = {
        "kind": kind,
        "help": doc,
        "group": group,
        "aliases": aliases,
        "short": short,
        "is_common": common,
        "default_words": default_words,
    }
    return field(default=default, metadata={_KEY: parts})


def options_of(cls: type) -> Mapping[str, Option]:
    """The options of a dataclass by keyword, in their order."""
    return {
        f.name: Option(name=f.name, default=f.default, **f.metadata[_KEY]) for f in fields(cls) if _KEY in f.metadata
    }


def read_options(target: Any) -> None:
    """Replace every option of a dataclass instance by the value it means. Raises ConfigError for the first that means none."""
    for name, one in options_of(type(target)).items():
        setattr(target, name, one.read(getattr(target, name)))


def canonical_names(options: Iterable[Option]) -> dict[str, str]:
    """Keyword or alias -> keyword."""
    return {spelling: one.name for one in options for spelling in (one.name, *one.aliases)}


def refuse_unknown(name: str, known: Iterable[str], *, where: str, show: str | None = None) -> ConfigError:
    """The error for a name that is no option; `show` is how the user wrote it."""
    written = show or name
    near = near_names(name, known)
    dashed = tuple(map(flag_of, near)) if written.startswith("-") else near
    return ConfigError(f"{where} has no option {written}.", candidates=dashed)
