"""Owns the open registries of parsers: names of our own (imported when first asked for) and those that users add.

A user adds one in a plugin (`vllm.general_plugins`) or in a file named by `--tool-parser-plugin` / `--reasoning-parser-plugin`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Generic, TypeVar

from vllm.errors import ConfigError, in_a_sentence, near_names
from vllm.plugins.dotted import load_subclass

__all__ = ["ParserRegistry"]

P = TypeVar("P")


class ParserRegistry(Generic[P]):
    """Names of parsers of one kind. vLLM's users know the methods as those of `ToolParserManager` and `ReasoningParserManager`."""

    def __init__(self, contract: type[P], *, option: str, built_in: Mapping[str, str]) -> None:
        self._contract, self._option = contract, option
        self._places: dict[str, type[P] | str] = dict(built_in)

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        return tuple(sorted(self._places))

    list_registered = names

    def get(self, name: str) -> type[P]:
        """The parser of that name.

        Raises:
            ConfigError: there is none, or its module cannot be loaded.
        """
        if name not in self._places:
            raise ConfigError(
                f"{self._option} {name!r} is not the name of a parser; there are {', '.join(self.names())}.",
                remedy=f"take one of these, or load your own with {self._option.replace('-call', '')}-plugin FILE",
                candidates=near_names(name, self._places),
            )
        place = self._places[name]
        if isinstance(place, str):
            place = self._places[name] = load_subclass(place, self._contract, option=f"{self._option} {name}")
        return place

    def register(self, name: str, parser: type[P] | str, *, force: bool = True) -> None:
        """Give a parser class, or the dotted path of one, a name. `force=False` refuses to replace another.

        Raises:
            ConfigError: the name is taken, or this is no parser.
        """
        if not force and name in self._places:
            raise ConfigError(
                f"A parser named {name!r} is registered already.", remedy="choose another name, or force=True"
            )
        if isinstance(parser, type) and not issubclass(parser, self._contract):
            raise ConfigError(
                f"{parser.__qualname__} is no {self._contract.__name__}.",
                remedy=f"derive it from {self._contract.__module__}.{self._contract.__qualname__}",
            )
        self._places[name] = parser

    def register_module(
        self, name: str | Iterable[str] | None = None, force: bool = True, module: type[P] | None = None
    ) -> Callable[[type[P]], type[P]]:
        """The decorator that vLLM's users know: one name or several, the class's own where none is given."""

        def add(parser: type[P]) -> type[P]:
            names = [parser.__name__] if name is None else [name] if isinstance(name, str) else name
            for each in names:
                self.register(each, parser, force=force)
            return parser

        if module is not None:
            add(module)
        return add

    def register_lazy_module(self, name: str, module_path: str, class_name: str) -> None:
        """Name a parser that is imported when it is first asked for."""
        self.register(name, f"{module_path}:{class_name}")

    def load_file(self, path: str) -> None:
        """Run a user's file, which registers its parsers.

        Raises:
            ConfigError: there is no such file, or it raises.
        """
        file = Path(path).expanduser()
        if not file.is_file():
            raise ConfigError(f"{self._option.replace('-call', '')}-plugin names {path!r}, which is no file.")
        spec = spec_from_file_location(f"vllm_parser_plugin_{file.stem}", file)
        assert spec is not None and spec.loader is not None
        module = sys.modules[spec.name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise ConfigError(f"The parser plugin {path!r} cannot be loaded: {in_a_sentence(error)}") from error

    import_tool_parser = load_file
    import_reasoning_parser = load_file
