"""Owns the step from a dotted path ("pkg.module.Class" or "pkg.module:Class") to the object it names."""

from __future__ import annotations

from importlib import import_module
from typing import Any, TypeVar

from vllm.errors import ConfigError, PluginError, in_a_sentence, near_names

__all__ = ["load_dotted", "load_subclass"]

T = TypeVar("T")


def load_dotted(path: str) -> Any:
    """Import the module and give the object. What the module itself raises is passed on as it is.

    Raises:
        PluginError: the text is no dotted path, or the module has no such name.
        ImportError: the module, or something it imports, does not exist.
    """
    module_name, _, attribute = path.replace(":", ".").rpartition(".")
    parts = [*module_name.split("."), attribute]
    if len(parts) < 2 or not all(part.isidentifier() for part in parts):
        raise PluginError(f"{path!r} is not a dotted path.", remedy='write it as "package.module.Name"')
    module = import_module(module_name)
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        near = "".join(f" Did you mean {name!r}?" for name in near_names(attribute, dir(module), limit=1))
        raise PluginError(f"The module {module_name} has no {attribute!r}.{near}") from error


def load_subclass(path: str, base: type[T], *, option: str) -> type[T]:
    """The class that `path` names, a subclass of the contract `base`; `option` is what gave the path, for the error text.

    Raises:
        ConfigError: the path cannot be loaded, or names something else.
    """
    try:
        cls = load_dotted(path)
    except (ImportError, PluginError) as error:
        raise ConfigError(f"{option} names {path!r}, which cannot be loaded: {in_a_sentence(error)}") from error
    if not (isinstance(cls, type) and issubclass(cls, base)):
        contract = f"{base.__module__}.{base.__qualname__}"
        raise ConfigError(f"{option} names {path!r}, which is no subclass of {contract}.")
    return cls
