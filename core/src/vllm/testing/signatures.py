"""Owns the comparison of a plugin's class with its contract: nothing abstract left, nothing final replaced, every call possible."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

__all__ = ["complaints_about"]


def complaints_about(cls: type, contract: type) -> list[str]:
    """What keeps `cls` from filling `contract`, as sentences; empty if nothing."""
    return [*_abstract(cls), *_replaced(cls, contract), *_signatures(cls, contract)]


def _abstract(cls: type) -> Iterator[str]:
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        yield f"{cls.__qualname__} lacks {', '.join(missing)}"


def _replaced(cls: type, contract: type) -> Iterator[str]:
    """Final methods validate and add context: a plugin implements the inner one."""
    for name, method in vars(contract).items():
        if getattr(method, "__final__", False) and inspect.getattr_static(cls, name) is not method:
            yield f"{cls.__qualname__}.{name} replaces a final method of {contract.__qualname__}; implement _{name}"


def _signatures(cls: type, contract: type) -> Iterator[str]:
    """Every call that the contract's signature allows must be possible on the class's."""
    for name, declared in vars(contract).items():
        if not inspect.isfunction(declared) or (name.startswith("__") and name != "__init__"):
            continue
        defined = inspect.getattr_static(cls, name)
        if defined is declared or not inspect.isfunction(defined):
            continue
        complaint = _misfit(inspect.signature(defined), inspect.signature(declared))
        if complaint:
            yield f"{cls.__qualname__}.{name}{inspect.signature(defined)} {complaint} (contract: {inspect.signature(declared)})"


def _misfit(defined: inspect.Signature, declared: inspect.Signature) -> str | None:
    for positional, keywords in _calls(declared):
        try:
            defined.bind(*positional, **keywords)
        except TypeError as error:
            return f"cannot be called as the contract says: {error}"
    return None


def _calls(declared: inspect.Signature) -> Iterator[tuple[list[Any], dict[str, Any]]]:
    """The calls to try: required arguments only, all by position, and all by name."""
    parameters = [p for p in declared.parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    by_name_only = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY}
    needed_by_name = {p.name: None for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty}
    others = [p for p in parameters if p.kind is not p.KEYWORD_ONLY]
    required = [p for p in others if p.default is p.empty]
    yield [None] * len(required), needed_by_name
    yield [None] * len(others), by_name_only
    if others and others[0].kind is others[0].POSITIONAL_OR_KEYWORD:
        yield [None], {**{p.name: None for p in others[1:]}, **by_name_only}
