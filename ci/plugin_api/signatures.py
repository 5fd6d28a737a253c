"""What became of a callable's parameters and result, and whether its callers, or those who override it, must follow."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Difference", "Parameter", "parameters", "signature_differences"]

_STARRED = ("*args", "**kwargs")


@dataclass(frozen=True, kw_only=True, slots=True)
class Parameter:
    """One parameter as the lock writes it."""

    name: str
    kind: str
    """positional | any | keyword | *args | **kwargs: how it can be given."""
    annotation: str
    default: str | None

    @property
    def is_required(self) -> bool:
        return self.default is None and self.kind not in _STARRED

    def __str__(self) -> str:
        annotation = f": {self.annotation}" if self.annotation else ""
        return f"`{self.name}{annotation}{'' if self.default is None else f' = {self.default}'}`"


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One thing that changed, as a clause."""

    what: str
    is_breaking: bool


def parameters(text: str) -> tuple[list[Parameter], str]:
    """The parameters and the result type of `(a: int = 0, *, b) -> str`."""
    (function,) = ast.parse(f"def f{text}: ...").body
    assert isinstance(function, ast.FunctionDef)
    args = function.args
    positional = [*args.posonlyargs, *args.args]
    absent: list[ast.expr | None] = [None] * (len(positional) - len(args.defaults))
    kinds = ["positional"] * len(args.posonlyargs) + ["any"] * len(args.args)
    found = [_parameter(*each) for each in zip(positional, kinds, [*absent, *args.defaults], strict=True)]
    found += [_parameter(arg, "*args", None) for arg in [args.vararg] if arg]
    found += [_parameter(arg, "keyword", value) for arg, value in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    found += [_parameter(arg, "**kwargs", None) for arg in [args.kwarg] if arg]
    return found, ast.unparse(function.returns) if function.returns else ""


def _parameter(arg: ast.arg, kind: str, default: ast.expr | None) -> Parameter:
    return Parameter(
        name=arg.arg,
        kind=kind,
        annotation=ast.unparse(arg.annotation) if arg.annotation else "",
        default=ast.unparse(default) if default else None,
    )


def signature_differences(before: str, after: str, *, is_overridable: bool) -> list[Difference]:
    """Every difference of two signatures.

    What only callers see may grow by optional parameters. What plugins override may not: the core would give an
    override an argument that it does not take.
    """
    (old, old_result), (new, new_result) = parameters(before), parameters(after)
    found = [*_removed(old, new), *_changed(old, new, is_overridable), *_added(old, new, is_overridable)]
    if _order(old, new) != _order(new, old):
        found.append(Difference(what="the order of its positional parameters changed", is_breaking=True))
    if old_result != new_result:
        found.append(Difference(what=f"its result `{old_result}` became `{new_result}`", is_breaking=True))
    return found


def _order(of: list[Parameter], other: list[Parameter]) -> list[str]:
    """Names of the positional parameters that both have."""
    shared = {each.name for each in other if each.kind in ("positional", "any")}
    return [each.name for each in of if each.kind in ("positional", "any") and each.name in shared]


def _renames(old: list[Parameter], new: list[Parameter]) -> dict[str, Parameter]:
    """Old name → the unknown parameter of the same kind that now stands in its place."""
    old_names, new_names = {each.name for each in old}, {each.name for each in new}
    return {
        was.name: now
        for was, now in zip(old, new, strict=False)
        if was.name not in new_names and now.name not in old_names and was.kind == now.kind
    }


def _removed(old: list[Parameter], new: list[Parameter]) -> Iterator[Difference]:
    names, renames = {each.name for each in new}, _renames(old, new)
    for each in old:
        if each.name not in names:
            fate = f"was renamed to {renames[each.name]}" if each.name in renames else "was removed"
            yield Difference(what=f"its parameter {each} {fate}", is_breaking=True)


def _changed(old: list[Parameter], new: list[Parameter], is_overridable: bool) -> Iterator[Difference]:
    by_name = {each.name: each for each in new}
    for each in old:
        now = by_name.get(each.name)
        if now is None or now == each:
            continue
        becomes_optional = _without_default(now) == _without_default(each) and each.is_required
        what = f"its parameter {each} became {now}"
        if now.kind != each.kind:
            what += f", given as {now.kind} instead of {each.kind}"
        yield Difference(what=what, is_breaking=is_overridable or not becomes_optional)


def _without_default(each: Parameter) -> tuple[str, str, str]:
    return each.name, each.kind, each.annotation


def _added(old: list[Parameter], new: list[Parameter], is_overridable: bool) -> Iterator[Difference]:
    known = {each.name for each in (*old, *_renames(old, new).values())}
    for each in new:
        if each.name in known:
            continue
        if each.is_required:
            yield Difference(what=f"it has a new required parameter {each}", is_breaking=True)
        elif is_overridable:
            yield Difference(what=f"it has a new parameter {each}, which an override does not take", is_breaking=True)
        else:
            yield Difference(what=f"it has a new optional parameter {each}", is_breaking=False)
