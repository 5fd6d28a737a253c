"""Owns the shims that keep an old name or signature of the plugin interface working for one minor version.

A shim warns once per process, at the line that still uses the old form, with what to write instead and the version in
which the old form goes. That version is a literal, `goes_in="0.3"`: CI reads it and fails once core's next version is it.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar, cast

__all__ = ["InterfaceDeprecationWarning", "deprecated", "moved_name", "old_override", "renamed_parameter"]

CallableT = TypeVar("CallableT", bound="Callable[..., Any]")
ClassT = TypeVar("ClassT", bound=type)
_warned: set[str] = set()


class InterfaceDeprecationWarning(FutureWarning):
    """A plugin uses an old form of the interface. Shown by default; `-W error::FutureWarning` makes a test of it."""


def deprecated(*, instead: str, goes_in: str) -> Callable[[CallableT], CallableT]:
    """Decorator: the function or method still works; `instead` is what to call, as a clause."""

    def wrap(function: CallableT) -> CallableT:
        @functools.wraps(function)
        def old(*args: Any, **kwargs: Any) -> Any:
            _warn_once(f"{_name_of(function)}() is deprecated", instead=f"use {instead}", goes_in=goes_in)
            return function(*args, **kwargs)

        return cast("CallableT", old)

    return wrap


def renamed_parameter(old: str, new: str, *, goes_in: str) -> Callable[[CallableT], CallableT]:
    """Decorator: callers may still give the parameter `new` by its former name `old`.

    Raises (at the call):
        TypeError: both are given.
    """

    def wrap(function: CallableT) -> CallableT:
        @functools.wraps(function)
        def accepting(*args: Any, **kwargs: Any) -> Any:
            if old in kwargs:
                name = _name_of(function)
                if new in kwargs:
                    raise TypeError(f"{name}() got {new!r} twice: also under its former name {old!r}")
                _warn_once(
                    f"{name}() calls its parameter {old!r} {new!r} now", instead=f"write {new}=", goes_in=goes_in
                )
                kwargs[new] = kwargs.pop(old)
            return function(*args, **kwargs)

        return cast("CallableT", accepting)

    return wrap


def old_override(method: str, *, lacks: str, goes_in: str) -> Callable[[ClassT], ClassT]:
    """Class decorator of a contract: subclasses may still override `method` without its new parameter `lacks`.

    The core passes the parameter by name; an override that does not know it is called without it.
    """

    def wrap(contract: ClassT) -> ClassT:
        former = contract.__dict__.get("__init_subclass__")

        def adapt(cls: type, /, **kwargs: Any) -> None:
            if isinstance(former, classmethod):  # the contract's own hook, or that of another shim
                former.__func__(cls, **kwargs)
            else:
                super(contract, cls).__init_subclass__(**kwargs)  # type: ignore[arg-type]
            _adapt(cls, method, lacks, goes_in)

        type.__setattr__(contract, "__init_subclass__", classmethod(adapt))
        return contract

    return wrap


def _adapt(cls: type, method: str, lacks: str, goes_in: str) -> None:
    """Wrap the override that `cls` itself defines, where it does not take `lacks`."""
    override = cls.__dict__.get(method)
    if not isinstance(override, FunctionType) or _takes(override, lacks):
        return
    what = f"{_name_of(override)}() does not take {lacks!r}, which vLLM passes now"
    place = override.__code__.co_filename, override.__code__.co_firstlineno
    _warn_once(what, instead=f"add the parameter {lacks} to it", goes_in=goes_in, place=place)

    @functools.wraps(override)
    def without(*args: Any, **kwargs: Any) -> Any:
        kwargs.pop(lacks, None)
        return override(*args, **kwargs)

    setattr(cls, method, without)


def _takes(function: Callable[..., Any], parameter: str) -> bool:
    known = inspect.signature(function).parameters
    return parameter in known or any(each.kind is inspect.Parameter.VAR_KEYWORD for each in known.values())


def moved_name(module: str, name: str, value: Any, *, instead: str, goes_in: str) -> Any:
    """For a module's `__getattr__`: `value` under its former name, with the warning. `instead` is its new dotted path."""
    _warn_once(f"{module}.{name} has moved", instead=f"import {instead}", goes_in=goes_in, callers_up=3)
    return value


def _warn_once(
    what: str, *, instead: str, goes_in: str, callers_up: int = 2, place: tuple[str, int] | None = None
) -> None:
    """Warn at `place` (file, line), or at the line that many callers above this function."""
    text = f"{what}. Remedy: {instead}; the old form works until vllm-core {goes_in}."
    if text in _warned:
        return
    _warned.add(text)
    if place is None:
        warnings.warn(text, InterfaceDeprecationWarning, stacklevel=callers_up + 1)
    else:
        warnings.warn_explicit(text, InterfaceDeprecationWarning, *place)


def _name_of(function: Callable[..., Any]) -> str:
    return f"{function.__module__}.{function.__qualname__}"
