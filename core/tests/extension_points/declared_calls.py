"""Owns the walk through a tree of sources that finds what is asked of plugins' objects: `platform.x`, `self.backend.x`, `ctx.tp.x`.

Which names hold a plugin's object is read from the code itself, without running it: annotations of arguments, variables and attributes;
what a function says it returns; `load_subclass(path, Contract)`, whose result makes objects of that contract; loops over sequences of them.
An attribute counts by its name in every class, so `worker.tp` is what `self.tp: CommunicatorBase` says.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

__all__ = ["Ask", "asks"]

_MAKERS = {"type", "Type"}
_CONTAINERS = {"Sequence", "Iterable", "Iterator", "list", "tuple", "set", "deque"}
_BY_NAME = {"getattr", "hasattr", "setattr", "delattr"}


@dataclass(frozen=True, slots=True)
class Held:
    """What a name holds: an object of a contract, its class, or a sequence of such objects."""

    contract: str
    what: str = "object"


@dataclass(frozen=True, slots=True)
class Ask:
    """One place where something is asked of a plugin's object. `attribute` is None where it is chosen by a string while running."""

    contract: str
    attribute: str | None
    file: str
    line: int


@dataclass(slots=True)
class Knowledge:
    """What all files say together."""

    contracts: frozenset[str]
    returns: dict[str, Held] = field(default_factory=dict)
    """By the function's name alone."""
    attributes: dict[str, Held] = field(default_factory=dict)
    aliases: dict[str, Held] = field(default_factory=dict)


def asks(files: Mapping[str, str], contracts: Iterable[str]) -> list[Ask]:
    """Everything that the sources (file name → text) ask of objects of the `contracts` (class names)."""
    trees = {name: ast.parse(text) for name, text in files.items()}
    known = Knowledge(frozenset(contracts))
    for _ in range(3):  # an attribute may be given by a function that returns an attribute
        for tree in trees.values():
            _learn(tree, known)
    return [ask for name, tree in trees.items() for ask in _asks_of(tree, known, name)]


# ---- learning


def _learn(tree: ast.Module, known: Knowledge) -> None:
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            _keep(known.aliases, statement.targets[0].id, _annotated(statement.value, known))
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if (held := _annotated(node.returns, known)) is not None:
                known.returns[node.name] = held
            _learn_attributes(node, known)
        elif isinstance(node, ast.ClassDef):
            for declared in node.body:
                if isinstance(declared, ast.AnnAssign) and isinstance(declared.target, ast.Name):
                    _keep(known.attributes, declared.target.id, _annotated(declared.annotation, known))


def _learn_attributes(function: ast.FunctionDef | ast.AsyncFunctionDef, known: Knowledge) -> None:
    """`self.x: T = …` and `self.x = …` of a known value."""
    names = _names_in(function, known)
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Attribute):
            _keep(known.attributes, node.target.attr, _annotated(node.annotation, known))
        elif isinstance(node, ast.Assign):
            for target, value in _bindings(node):
                if isinstance(target, ast.Attribute):
                    _keep(known.attributes, target.attr, _value(value, names, known))


def _keep(table: dict[str, Held], name: str, held: Held | None) -> None:
    if held is not None:
        table[name] = held


def _annotated(annotation: ast.expr | None, known: Knowledge) -> Held | None:
    """What an annotation promises; optional values count as what they are if they are there."""
    if annotation is None:
        return None
    text = annotation.value if isinstance(annotation, ast.Constant) else ast.unparse(annotation)
    words = re.findall(r"\w+", str(text))
    for position, word in enumerate(words):
        if word in known.aliases:
            return known.aliases[word]
        if word in known.contracts:
            outer = set(words[:position])
            if outer & {"Callable", "Mapping", "dict", "TypeVar"}:
                return None
            return Held(word, "class" if outer & _MAKERS else "several" if outer & _CONTAINERS else "object")
    return None


# ---- names of one function


def _names_in(function: ast.FunctionDef | ast.AsyncFunctionDef, known: Knowledge) -> dict[str, Held | None]:
    """Arguments and variables, each with what it holds; None for those that hold something else."""
    arguments = function.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    names = {argument.arg: _annotated(argument.annotation, known) for argument in given}
    for node in ast.walk(function):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names[node.target.id] = _annotated(node.annotation, known)
            if names[node.target.id] is None and node.value is not None:
                names[node.target.id] = _value(node.value, names, known)
        elif isinstance(node, ast.Assign):
            for target, value in _bindings(node):
                if isinstance(target, ast.Name):
                    names[target.id] = _value(value, names, known)
        elif isinstance(node, (ast.For, ast.comprehension)) and isinstance(node.target, ast.Name):
            several = _value(node.iter, names, known)
            names[node.target.id] = Held(several.contract) if several and several.what == "several" else None
    return names


def _bindings(node: ast.Assign) -> Iterator[tuple[ast.expr, ast.expr]]:
    """(target, value), one by one where tuples are assigned to each other."""
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            yield from zip(target.elts, node.value.elts, strict=False)
        else:
            yield target, node.value


def _value(node: ast.expr, names: Mapping[str, Held | None], known: Knowledge) -> Held | None:
    """What an expression holds."""
    if isinstance(node, ast.Name):
        return names.get(node.id, Held(node.id, "class") if node.id in known.contracts else None)
    if isinstance(node, ast.Attribute):
        return known.attributes.get(node.attr)
    if isinstance(node, ast.Call):
        return _called(node, names, known)
    if isinstance(node, ast.BoolOp):
        return next((held for value in node.values if (held := _value(value, names, known))), None)
    if isinstance(node, ast.IfExp):
        return _value(node.body, names, known) or _value(node.orelse, names, known)
    return None


def _called(node: ast.Call, names: Mapping[str, Held | None], known: Knowledge) -> Held | None:
    function = node.func
    if isinstance(function, ast.Name) and function.id == "load_subclass":
        wanted = node.args[1]
        is_contract = isinstance(wanted, ast.Name) and wanted.id in known.contracts
        return Held(wanted.id, "class") if is_contract and isinstance(wanted, ast.Name) else None
    if isinstance(function, ast.Name) and names.get(function.id) is None and function.id in known.returns:
        return known.returns[function.id]
    if isinstance(function, ast.Attribute) and _is_ours(function.value, names, known):
        return known.returns.get(function.attr)
    made_of = _value(function, names, known)
    return Held(made_of.contract) if made_of is not None and made_of.what == "class" else None


def _is_ours(node: ast.expr, names: Mapping[str, Held | None], known: Knowledge) -> bool:
    """Whether what a method is called on is the object itself or a plugin's: `path.resolve()` is neither."""
    return (isinstance(node, ast.Name) and node.id == "self") or _value(node, names, known) is not None


# ---- asking


def _asks_of(tree: ast.Module, known: Knowledge, file: str) -> Iterator[Ask]:
    for scope, names in _scopes(tree, {}, known):
        for node in _without_inner_functions(scope):
            if isinstance(node, ast.Attribute):
                held = _value(node.value, names, known)
                if held is not None and held.what != "several":
                    yield Ask(held.contract, node.attr, file, node.lineno)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _BY_NAME:
                held = _value(node.args[0], names, known)
                if held is not None and held.what != "several":
                    yield Ask(held.contract, None, file, node.lineno)


Scope = tuple[ast.AST, dict[str, "Held | None"]]


def _scopes(node: ast.AST, names: dict[str, Held | None], known: Knowledge) -> Iterator[Scope]:
    """The module and every function in it, each with the names that it sees; inner functions see the outer ones' too."""
    if isinstance(node, (ast.Module, ast.FunctionDef, ast.AsyncFunctionDef)):
        yield node, names
    for child in ast.iter_child_nodes(node):
        is_function = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef))
        inner = {**names, **_names_in(child, known)} if is_function else names  # type: ignore[arg-type]
        yield from _scopes(child, inner, known)


def _without_inner_functions(scope: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(scope):
        if not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield child
            yield from _without_inner_functions(child)
